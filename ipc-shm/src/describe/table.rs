//! A description as a table to read.

use core::fmt;

use ipc_core::identity::{Admitted, Liveness, ProcessId};
use rustix::fs::SealFlags;

use super::{Description, Filled, HeaderDescription, RingDescription, RingLayout, Sort, State};
use crate::Kind;
use crate::ring::Peer;

impl fmt::Display for Description {
    /// A line for each fact, a table of the places, and a paragraph for each ring.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        write!(f, "state      ")?;
        match self.state {
            State::NotBegun => f.write_str("not begun")?,
            State::Begun(by, lives) => write!(f, "being made by {}", Who(by, lives))?,
            State::Ready => f.write_str("ready")?,
            State::Damaged(word) => write!(f, "damaged: {word:#x}")?,
        }
        writeln!(f)?;
        write!(f, "attaching  ")?;
        match self.refused {
            None => writeln!(
                f,
                "possible{}",
                match self.sort {
                    Sort::Shared | Sort::Unlinked => "",
                    Sort::SingleWriter => " to read: one process writes",
                    Sort::Frozen => " to read: nobody writes any more",
                    Sort::Named => " by its name",
                }
            )?,
            Some(error) => {
                let lost = self.sort == Sort::Unlinked;
                let why = if lost { ": a file without a name, and no memfd" } else { "" };
                writeln!(f, "refused: {error}{why}")?;
            }
        }
        let access = if self.writable { "read and write" } else { "read only" };
        write!(f, "file       {} bytes, {access}, ", self.length)?;
        match self.seals {
            Some(bits) => writeln!(f, "{}", Seals(SealFlags::from_bits_retain(bits)))?,
            None => writeln!(f, "not in memory")?,
        }
        if (major, minor) != (0, 0) {
            let order = if self.foreign { ", the other byte order" } else { "" };
            writeln!(f, "layout     version {major}.{minor}{order}")?;
        }
        if let Some(header) = &self.header {
            header.fmt(f)?;
        }
        self.table(f)?;
        self.rings().try_for_each(|ring| ring.fmt(f))
    }
}

impl Description {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.places().next().is_none() {
            return Ok(());
        }
        let heads = ["place", "offset", "count", "size", "align"];
        let [place, offset, count, size, align] = heads;
        writeln!(f, "{place:>5} {offset:>12} {count:>12} {size:>10} {align:>6}  type")?;
        for (number, place) in self.places().enumerate() {
            let (offset, count, size) = (place.offset, place.count, place.size);
            write!(f, "{number:>5} {offset:>12} {count:>12} {size:>10} {:>6}  ", place.align)?;
            match place.type_name {
                Some(name) => writeln!(f, "{name}")?,
                None => writeln!(f, "{:#018x}", place.type_hash)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for HeaderDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            (_, Some(Kind::Raw)) => "bytes without a plan",
            (_, Some(Kind::Planned)) => "places of a plan",
            (_, Some(Kind::Spsc)) => "a stamped ring",
            (_, Some(Kind::Indexed)) => "an indexed ring",
            (_, Some(Kind::Bytes)) => "a ring of bytes",
            (_, Some(Kind::Mpmc)) => "a ring of many producers and consumers",
            (_, None) => "unknown",
        };
        writeln!(f, "kind       {} ({kind})", self.kind.0)?;
        writeln!(
            f,
            "made on    {}, pages of {} bytes, places {} apart",
            self.arch, self.page, self.line
        )?;
        write!(f, "made by    ")?;
        match self.creator {
            Some(id) => write!(f, "{}", Who(id, self.creator_lives))?,
            None => f.write_str("nobody")?,
        }
        match self.domain {
            Admitted::Nobody => writeln!(f, ", no pid namespace")?,
            Admitted::Mixed => writeln!(f, ", several pid namespaces")?,
            // As `/proc/PID/ns/pid` has it: the kernel's numbers begin at 0xf000_0000, and 30 bits are kept.
            Admitted::One(domain) => writeln!(f, ", pid:[{}]", 3 << 30 | domain.to_bits())?,
        }
        let (size, payload, total) = (self.size, self.payload, self.total);
        writeln!(f, "payload    {size} bytes from {payload} on, in {total} bytes")?;
        write!(f, "hash       {:#018x}", self.hash)?;
        if self.hash != self.found_hash {
            write!(f, ", but the directory has {:#018x}", self.found_hash)?;
        }
        writeln!(f)?;
        writeln!(f, "places     {}", self.entries)
    }
}

impl fmt::Display for RingDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layout, unit) = match self.layout {
            RingLayout::Stamped => ("stamped", "messages"),
            RingLayout::Indexed => ("indexed", "messages"),
            RingLayout::Bytes => ("records", "bytes"),
        };
        let (place, capacity) = (self.place, self.capacity);
        write!(f, "ring       at place {place}, {layout}, {capacity} {unit}")?;
        match self.message_size {
            Some(size) => writeln!(f, " of {size} bytes")?,
            None => writeln!(f)?,
        }
        write!(f, "  filled   ")?;
        match self.filled {
            Filled::Exactly(count) => writeln!(f, "{count}")?,
            Filled::About(count) => writeln!(f, "about {count}: it is in use")?,
            Filled::Moving => writeln!(f, "unknown: it is in use")?,
            Filled::Damaged => writeln!(f, "damaged: no ring comes to these words")?,
        }
        writeln!(f, "  producer {}", End(self.producer))?;
        writeln!(f, "  consumer {}", End(self.consumer))
    }
}

/// A process, and whether it lives.
struct Who(ProcessId, Liveness);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lives = match self.1 {
            Liveness::Alive => "alive",
            Liveness::Dead => "dead",
            Liveness::Unknown => "nobody here knows whether it lives",
        };
        write!(f, "{} ({lives})", self.0)
    }
}

/// An end of a ring.
struct End(Option<Peer>);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("damaged: no process has this word"),
            Some(Peer::Absent) => f.write_str("nobody yet"),
            Some(Peer::Closed) => f.write_str("closed"),
            Some(Peer::Alive(id)) => Who(id, Liveness::Alive).fmt(f),
            Some(Peer::Dead(id)) => Who(id, Liveness::Dead).fmt(f),
            Some(Peer::Unknown(id)) => Who(id, Liveness::Unknown).fmt(f),
        }
    }
}

struct Seals(SealFlags);

impl fmt::Display for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no seals");
        }
        f.write_str("sealed:")?;
        self.0.iter_names().try_for_each(|(name, _)| write!(f, " {name}"))?;
        match self.0.iter().map(|seal| seal.bits()).fold(self.0.bits(), |rest, bits| rest & !bits) {
            0 => Ok(()),
            unnamed => write!(f, " {unnamed:#x}"),
        }
    }
}
