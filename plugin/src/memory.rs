//! The allocator: blocks of sizes that come again are kept, and given out again without looking for room.
//!
//! A request takes and frees some dozens of small blocks of always the same sizes; the standard allocator takes more than a
//! hundred instructions for each of both. Freed blocks of up to [`SIZE_MAX`] bytes stand in lists by size, each bounded by
//! [`KEPT_BYTES`]; whatever else there is goes to the standard allocator.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Sizes are rounded up to a multiple of this, in bytes.
const STEP: usize = 16;
/// The largest blocks that are kept, in bytes: an event as it is written, a request's headers.
const SIZE_MAX: usize = 1024;
/// So many sizes are told apart.
const SIZES: usize = SIZE_MAX / STEP + 1;
/// Freed blocks of one size are kept up to this many bytes: a burst gives its memory back for other sizes.
const KEPT_BYTES: usize = 16 * 1024;
/// Larger alignments are rare and go to the standard allocator.
const ALIGN_MAX: usize = 8;

/// Freed blocks of one size. Each holds the address of the next in its first bytes.
struct Kept {
    first: Cell<*mut Block>,
    /// How many there are.
    blocks: Cell<usize>,
}

struct Block {
    next: *mut Block,
}

struct Memory {
    kept: [Kept; SIZES],
}

#[global_allocator]
static MEMORY: Memory =
    Memory { kept: [const { Kept { first: Cell::new(std::ptr::null_mut()), blocks: Cell::new(0) } }; SIZES] };

// SAFETY: a gateway runs one thread in a VM, and WebAssembly without the feature `atomics`, without which this module is
// not there, has no other.
unsafe impl Sync for Memory {}

/// Which list blocks of this layout belong to; None for those that are never kept.
fn list(layout: Layout) -> Option<usize> {
    (layout.size() <= SIZE_MAX && layout.align() <= ALIGN_MAX).then_some((layout.size() + STEP - 1) / STEP)
}

/// What a block of a list was taken as: whoever takes it from there next may need all of it.
fn whole(list: usize) -> Layout {
    Layout::from_size_align(list * STEP, ALIGN_MAX).unwrap_or(Layout::new::<Block>())
}

// SAFETY: a block of a list comes from the standard allocator as `whole` describes it, goes back there as that, and belongs
// to one owner or to one list. All other layouts are the standard allocator's own.
unsafe impl GlobalAlloc for Memory {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, kept)) = list(layout).and_then(|list| Some((list, self.kept.get(list)?))) else {
            // SAFETY: the caller's promise about `layout`.
            return unsafe { System.alloc(layout) };
        };
        let first = kept.first.get();
        if first.is_null() {
            // SAFETY: the size is not 0, since the caller's is not.
            return unsafe { System.alloc(whole(list)) };
        }
        // SAFETY: what stands in a list is a freed block that nobody else uses, and it holds the next one's address.
        kept.first.set(unsafe { (*first).next });
        kept.blocks.set(kept.blocks.get() - 1);
        first.cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((list, kept)) = list(layout).and_then(|list| Some((list, self.kept.get(list)?))) else {
            // SAFETY: the caller's promise: it was allocated with this layout, and so by the standard allocator.
            return unsafe { System.dealloc(block, layout) };
        };
        if kept.blocks.get() * list * STEP >= KEPT_BYTES {
            // SAFETY: `alloc` has taken it as that.
            return unsafe { System.dealloc(block, whole(list)) };
        }
        kept.blocks.set(kept.blocks.get() + 1);
        let block: *mut Block = block.cast();
        // SAFETY: it is the caller's no more, and has room and alignment for an address.
        unsafe { block.write(Block { next: kept.first.get() }) };
        kept.first.set(block);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if list(layout).is_none() {
            // SAFETY: the caller's promise about `layout`.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as above; what was allocated has room for `layout.size()` bytes.
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
        match (list(layout), list(wanted)) {
            // SAFETY: both are the standard allocator's.
            (None, None) => unsafe { System.realloc(block, layout, size) },
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
