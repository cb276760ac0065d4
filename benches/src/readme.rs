//! The tables of `benches/README.md`, between markers, from report files only.

use core::fmt;

/// Why a page was left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// A marker is not there, or not once.
    Marker(String),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker(marker) => write!(f, "the page does not hold `{marker}` exactly once"),
        }
    }
}

impl core::error::Error for PageError {}

/// `page` with everything between the markers of `family` replaced by `table`.
///
/// # Errors
/// Says which marker is missing or doubled.
pub fn with_table(page: &str, family: &str, table: &str) -> Result<String, PageError> {
    let begin = format!("<!-- compare {family}: generated -->");
    let end = format!("<!-- compare {family}: end -->");
    let [before, rest] = split(page, &begin)?;
    let [_, after] = split(rest, &end)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", table.trim()))
}

fn split<'a>(text: &'a str, marker: &str) -> Result<[&'a str; 2], PageError> {
    let parts: Vec<&str> = text.split(marker).collect();
    parts.try_into().map_err(|_| PageError::Marker(marker.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "top\n<!-- compare a: generated -->\nold\n<!-- compare a: end -->\nend\n";

    #[test]
    fn only_the_table_changes_and_twice_is_once() {
        let once = with_table(PAGE, "a", "new\n").unwrap();
        assert!(once.starts_with("top\n") && once.ends_with("-->\nend\n"));
        assert!(once.contains("\n\nnew\n\n") && !once.contains("old"));
        assert_eq!(with_table(&once, "a", "new").unwrap(), once);
    }

    #[test]
    fn missing_and_doubled_markers_are_named() {
        let missing = with_table(PAGE, "b", "new").unwrap_err();
        assert!(missing.to_string().contains("compare b: generated"));
        assert!(with_table(&PAGE.repeat(2), "a", "new").is_err());
    }
}
