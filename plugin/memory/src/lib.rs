//! An allocator that keeps freed blocks of small sizes and gives them out again without looking for room.
//!
//! A request takes and frees some dozens of small blocks, always of the same sizes; the standard allocator takes more than a
//! hundred instructions for each of both. Freed blocks of up to [`SIZE_MAX`] bytes stand in lists by size, each bounded by
//! [`KEPT_BYTES`]; everything else goes to the inner allocator.
//!
//! It is generic over the inner allocator, so that tests run it natively over one that checks every call
//! (`tests/model.rs`; `make miri` runs them under Miri).
#![deny(missing_docs)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// Sizes are rounded up to a multiple of this, in bytes.
const STEP: usize = 16;
/// The largest blocks that are kept, in bytes: an event as it is written, a request's headers.
pub const SIZE_MAX: usize = 1024;
/// How many sizes are told apart.
const SIZES: usize = SIZE_MAX / STEP + 1;
/// Freed blocks of one size are kept up to this many bytes, so that a burst gives its memory back for other sizes.
pub const KEPT_BYTES: usize = 16 * 1024;
/// Larger alignments are rare and go to the inner allocator, in bytes.
pub const ALIGN_MAX: usize = 8;

/// An allocator that recycles small blocks over an inner one. For one thread only.
#[derive(Debug)]
pub struct Recycling<A> {
    inner: A,
    kept: [Kept; SIZES],
}

/// Freed blocks of one size. Each holds the address of the next in its first bytes.
#[derive(Debug)]
struct Kept {
    first: Cell<*mut Block>,
    /// How many there are.
    blocks: Cell<usize>,
}

struct Block {
    next: *mut Block,
}

// SAFETY: a gateway runs one thread in a VM, and WebAssembly without the feature `atomics` has no other. Elsewhere the
// allocator is not `Sync`, and cannot be a global one.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
unsafe impl<A> Sync for Recycling<A> {}

impl<A> Recycling<A> {
    /// Keeps nothing yet.
    pub const fn new(inner: A) -> Self {
        let kept = [const { Kept { first: Cell::new(std::ptr::null_mut()), blocks: Cell::new(0) } }; SIZES];
        Recycling { inner, kept }
    }

    /// How many bytes are kept in freed blocks, all sizes together.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().enumerate().map(|(list, kept)| kept.blocks.get() * list * STEP).sum()
    }

    /// The list of blocks of this layout, and its number; None for layouts that are never kept.
    fn list(&self, layout: Layout) -> Option<(usize, &Kept)> {
        let number = number(layout)?;
        Some((number, self.kept.get(number)?))
    }
}

/// The number of the list that blocks of this layout belong to; None for those that are never kept.
#[expect(clippy::manual_div_ceil, reason = "`div_ceil` takes twice the instructions, at every allocation")]
fn number(layout: Layout) -> Option<usize> {
    (layout.size() <= SIZE_MAX && layout.align() <= ALIGN_MAX).then_some((layout.size() + STEP - 1) / STEP)
}

/// The layout under which the inner allocator provides blocks of a list: the largest size of that list.
fn whole(number: usize) -> Layout {
    Layout::from_size_align(number * STEP, ALIGN_MAX).unwrap_or(Layout::new::<Block>())
}

// SAFETY: a block of a list comes from the inner allocator as `whole` describes it, goes back there as that, and belongs to
// one owner or to one list. All other layouts are the inner allocator's own.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Recycling<A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((number, kept)) = self.list(layout) else {
            // SAFETY: the caller's promise about `layout`.
            return unsafe { self.inner.alloc(layout) };
        };
        let first = kept.first.get();
        if first.is_null() {
            // SAFETY: the size is not 0, since the caller's is not.
            return unsafe { self.inner.alloc(whole(number)) };
        }
        // SAFETY: a block in a list is freed and nobody else's, and it holds the next one's address.
        kept.first.set(unsafe { (*first).next });
        kept.blocks.set(kept.blocks.get() - 1);
        first.cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((number, kept)) = self.list(layout) else {
            // SAFETY: the caller's promise: it was allocated with this layout, and so by the inner allocator.
            return unsafe { self.inner.dealloc(block, layout) };
        };
        if (kept.blocks.get() + 1) * number * STEP > KEPT_BYTES {
            // SAFETY: `alloc` has taken it as that.
            return unsafe { self.inner.dealloc(block, whole(number)) };
        }
        kept.blocks.set(kept.blocks.get() + 1);
        let block: *mut Block = block.cast();
        // SAFETY: it is no longer the caller's, and has room and alignment for an address.
        unsafe { block.write(Block { next: kept.first.get() }) };
        kept.first.set(block);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if number(layout).is_none() {
            // SAFETY: the caller's promise about `layout`.
            return unsafe { self.inner.alloc_zeroed(layout) };
        }
        // SAFETY: as above; the block has room for `layout.size()` bytes.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size`, rounded up to the alignment, is a size.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (number(layout), number(wanted)) {
            // SAFETY: both are the inner allocator's.
            (None, None) => unsafe { self.inner.realloc(block, layout, size) },
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: both blocks are there, are different, and have as many bytes as are copied.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}
