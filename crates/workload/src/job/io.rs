//! Files: `iomap` or page cache, write-back, and waiting for a device where there is one. On `tmpfs`
//! all of it is done by the CPU.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::Job;
use crate::hand::{Hand, Outcome, Refusal, Tried};

/// What is written or read at once.
const BLOCK: usize = 4096;
/// What is written between two syncs.
const BATCH: u64 = 16;
/// Blocks of the file that is read at random.
const BLOCKS: u64 = 256;

#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// A file without a name in the order's directory, and a buffer.
pub(super) struct Blocks {
    file: File,
    block: Box<Block>,
    at: u64,
}

impl Blocks {
    /// Makes the file; `direct` asks for a way past the page cache, and does without where the file
    /// system has none.
    pub(super) fn create(hand: &Hand<'_>, direct: bool) -> Result<Self, Refusal> {
        let directory = &hand.brief.scratch;
        let open = |flags| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_TMPFILE | flags).open(directory)
        };
        let file =
            if direct { open(libc::O_DIRECT).or_else(|_| open(0)) } else { open(libc::O_SYNC) };
        let file = file.tried(|| format!("make a file in `{}`", directory.display()))?;
        Ok(Self { file, block: Box::new(Block([0xa5; BLOCK])), at: 0 })
    }

    /// Fills the file, so that there is something to read.
    fn fill(mut self, hand: &mut Hand<'_>) -> Result<Self, Refusal> {
        for _ in 0..BLOCKS {
            self.write_within(BLOCKS)?;
        }
        self.sync(hand)?;
        Ok(self)
    }

    /// Writes the next block, of as many as there are in a batch.
    pub(super) fn write(&mut self) -> Outcome {
        self.write_within(BATCH)
    }

    fn write_within(&mut self, blocks: u64) -> Outcome {
        let at = self.at % blocks * BLOCK as u64;
        self.at += 1;
        let written = self.file.write_all_at(&self.block.0, at);
        written.tried(|| format!("write {BLOCK} bytes to a file"))
    }

    pub(super) fn sync(&self, hand: &mut Hand<'_>) -> Outcome {
        hand.wait(|| self.file.sync_data()).tried(|| "sync a file".into())
    }

    fn read_any(&mut self, hand: &mut Hand<'_>) -> Outcome {
        let at = hand.rng.u64(0..BLOCKS) * BLOCK as u64;
        let read = self.file.read_exact_at(&mut self.block.0, at);
        read.tried(|| format!("read {BLOCK} bytes of a file"))
    }
}

/// `O_SYNC` writes and `fdatasync(2)`.
pub(super) struct SyncWrite;

impl Job for SyncWrite {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut blocks = Blocks::create(hand, false)?;
        while hand.goes_on() {
            for _ in 0..BATCH {
                blocks.write()?;
                hand.did_part(1);
            }
            blocks.sync(hand)?;
            hand.did(0);
        }
        Ok(())
    }
}

/// Reads from anywhere in a file.
pub(super) struct RandRead;

impl Job for RandRead {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut blocks = Blocks::create(hand, true)?.fill(hand)?;
        while hand.goes_on() {
            blocks.read_any(hand)?;
            hand.did(1);
        }
        Ok(())
    }
}

/// Writes and reads in turn, and a sync now and then that all the writes before it queue for.
pub(super) struct Convoy;

impl Job for Convoy {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut blocks = Blocks::create(hand, true)?.fill(hand)?;
        let mut round = 0;
        while hand.goes_on() {
            blocks.write_within(BLOCKS)?;
            blocks.read_any(hand)?;
            hand.did(2);
            round += 1;
            if round % BATCH == 0 {
                blocks.sync(hand)?;
            }
        }
        Ok(())
    }
}
