use std::sync::atomic::{AtomicU64, Ordering};

/// How far a stream is, for a progress display.
#[derive(Debug, Default)]
pub struct SealProgress {
    plain: AtomicU64,
    stored: AtomicU64,
}

impl SealProgress {
    /// Bytes read from the producer so far.
    pub fn plain(&self) -> u64 {
        self.plain.load(Ordering::Relaxed)
    }

    /// Bytes cut into parts so far.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub(super) fn add_plain(&self, bytes: u64) {
        self.plain.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }
}
