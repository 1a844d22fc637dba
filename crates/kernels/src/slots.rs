//! Writing disjoint parts of one buffer from several tasks, where the parts aren't chunks that a slice could be split in.

use std::marker::PhantomData;
use std::ops::Range;

/// A buffer that tasks share; each part is written by one of them.
pub(crate) struct Slots<'a> {
    start: *mut f32,
    len: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: the buffer is borrowed mutably for as long as this lives, and `part` asks its callers for disjoint parts.
unsafe impl Sync for Slots<'_> {}

impl<'a> Slots<'a> {
    pub(crate) fn new(buffer: &'a mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// A part of the buffer.
    ///
    /// # Safety
    /// No other part that overlaps may be in use at the same time.
    #[expect(clippy::mut_from_ref)]
    #[inline(always)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: in bounds by the assertion; not aliased by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }
}
