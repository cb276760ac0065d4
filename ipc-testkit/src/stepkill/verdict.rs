//! What a part of a scenario has to say: it went well, or one sentence why not.

use core::error::Error;
use core::fmt::{self, Write};

/// The result of a part: nothing, or a [`Flaw`].
pub type Verdict = Result<(), Flaw>;

/// One sentence about what is wrong, of fixed size, so that a forked process needs no allocation to report it.
///
/// Made by [`ensure!`](crate::ensure), [`flaw!`](crate::flaw), or by `?` from any error.
#[derive(Clone, Copy)]
pub struct Flaw {
    len: u8,
    text: [u8; Flaw::CAPACITY],
}

impl Flaw {
    /// Bytes of text that fit; the rest is cut off.
    pub const CAPACITY: usize = 119;

    /// Formats the sentence into place.
    pub fn new(sentence: fmt::Arguments<'_>) -> Self {
        let mut flaw = Self { len: 0, text: [0; Self::CAPACITY] };
        // A sentence that does not fit is cut off by `write_str`, which never fails.
        let _ = flaw.write_fmt(sentence);
        flaw
    }

    /// The sentence.
    pub fn as_str(&self) -> &str {
        let text = &self.text[..usize::from(self.len)];
        core::str::from_utf8(text).unwrap_or_else(|e| {
            // Only a cut inside the last character can make it invalid.
            core::str::from_utf8(&text[..e.valid_up_to()]).unwrap_or_default()
        })
    }
}

impl Write for Flaw {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let len = usize::from(self.len);
        let fits = s.len().min(Self::CAPACITY - len);
        self.text[len..len + fits].copy_from_slice(&s.as_bytes()[..fits]);
        self.len += fits as u8;
        Ok(())
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flaw({:?})", self.as_str())
    }
}

// `Flaw` itself is no `Error`, so that this conversion can exist.
impl<E: Error> From<E> for Flaw {
    fn from(error: E) -> Self {
        Self::new(format_args!("{error}"))
    }
}

/// Builds a [`Flaw`](crate::stepkill::Flaw) from a format string.
#[macro_export]
macro_rules! flaw {
    ($($sentence:tt)+) => {
        $crate::stepkill::Flaw::new(::core::format_args!($($sentence)+))
    };
}

/// Returns a [`Flaw`](crate::stepkill::Flaw) from the enclosing part unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($sentence:tt)+) => {
        if !$condition {
            return ::core::result::Result::Err($crate::flaw!($($sentence)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_long_sentences_at_a_character() {
        let flaw = Flaw::new(format_args!("{}", "ä".repeat(200)));
        assert_eq!(flaw.as_str(), "ä".repeat(Flaw::CAPACITY / 2));
    }

    #[test]
    fn stays_below_the_size_that_results_should_have() {
        assert!(size_of::<Verdict>() <= 128);
    }
}
