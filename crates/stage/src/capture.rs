//! Output of programs, kept within bounds however much there is of it.

/// The beginning and the end of an output.
#[derive(Debug)]
pub(crate) struct Capture {
    head: Vec<u8>,
    head_max: usize,
    tail: Vec<u8>,
    tail_max: usize,
    total: u64,
}

impl Capture {
    /// Keeps the first `head_max` and the last `tail_max` bytes.
    pub(crate) const fn new(head_max: usize, tail_max: usize) -> Self {
        Self { head: Vec::new(), head_max, tail: Vec::new(), tail_max, total: 0 }
    }

    /// Takes the next part of the output.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let to_head = bytes.len().min(self.head_max - self.head.len());
        let (head, rest) = bytes.split_at(to_head);
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        // Moved down seldom, so that each byte is copied twice at most.
        if self.tail.len() > self.tail_max * 2 {
            self.tail.drain(..self.tail.len() - self.tail_max);
        }
    }

    /// The beginning.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// How many bytes there were in all.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Whether there was more than the beginning.
    pub(crate) fn exceeds_head(&self) -> bool {
        self.total > self.head.len() as u64
    }

    /// All that was kept, as text, with a line that says what was not.
    pub(crate) fn text(&self) -> String {
        let tail = &self.tail[self.tail.len().saturating_sub(self.tail_max)..];
        let kept = self.head.len() as u64 + tail.len() as u64;
        if kept == self.total {
            return String::from_utf8_lossy(&[&self.head, tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(tail));
        format!("{head}\n({} bytes left out)\n{tail}", self.total - kept)
    }

    /// The last `bytes_max` bytes at most, as text, from the beginning of a line where there is one.
    pub(crate) fn end(&self, bytes_max: usize) -> String {
        let tail = &self.tail[self.tail.len().saturating_sub(bytes_max)..];
        let of_head = if self.total == (self.head.len() + self.tail.len()) as u64 {
            (bytes_max - tail.len()).min(self.head.len())
        } else {
            0
        };
        let end = [&self.head[self.head.len() - of_head..], tail].concat();
        let is_whole = end.len() as u64 == self.total;
        let line = end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let from = if is_whole || line == end.len() { 0 } else { line };
        String::from_utf8_lossy(&end[from..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_begins_with_a_line() {
        let mut capture = Capture::new(4, 8);
        capture.push(b"one\ntwo\nthree\n");
        assert_eq!(capture.end(8), "three\n");
        assert_eq!(capture.end(3), "ee\n");
        assert!(capture.exceeds_head());
        assert_eq!(capture.text(), "one\n\n(2 bytes left out)\no\nthree\n");
        let mut short = Capture::new(16, 8);
        short.push(b"a\nb");
        assert_eq!((short.end(8).as_str(), short.text().as_str()), ("a\nb", "a\nb"));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_beginning_and_the_end(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            head_max in 0usize..60,
            tail_max in 0usize..60,
        ) {
            let mut capture = Capture::new(head_max, tail_max);
            parts.iter().for_each(|part| capture.push(part));
            let all = parts.concat();
            prop_assert_eq!(capture.total(), all.len() as u64);
            prop_assert_eq!(capture.head(), &all[..all.len().min(head_max)]);
            prop_assert!(capture.tail.len() <= tail_max * 2);
            prop_assert!(all.ends_with(&capture.tail));
            let lossless = String::from_utf8_lossy(&all).into_owned();
            if all.len() <= head_max + tail_max {
                prop_assert_eq!(&capture.text(), &lossless);
            }
            if all.is_ascii() {
                prop_assert!(lossless.ends_with(&capture.end(tail_max)));
            }
        }
    }
}
