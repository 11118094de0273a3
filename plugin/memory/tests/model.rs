//! Random sequences of calls against a model of what a caller may expect, over an inner allocator that checks what it is
//! asked for.
//!
//! `make miri` runs the same under Miri, which sees each access outside of a block.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_memory::{ALIGN_MAX, KEPT_BYTES, Recycling, SIZE_MAX};

/// Miri runs a thousandth as fast.
const CASES: u32 = if cfg!(miri) { 16 } else { 512 };
const STEPS: usize = if cfg!(miri) { 60 } else { 400 };

/// Passes calls on to the standard allocator; remembers what is out, and gives it back when it is dropped.
#[derive(Debug, Default)]
struct Checked(RefCell<BTreeMap<usize, (*mut u8, Layout)>>);

impl Checked {
    fn note(&self, block: *mut u8, layout: Layout) -> *mut u8 {
        assert!(layout.size() > 0, "an allocator is never asked for nothing");
        assert_eq!(self.0.borrow_mut().insert(block.addr(), (block, layout)), None, "a block that is out already");
        block
    }

    fn bytes(&self) -> usize {
        self.0.borrow().values().map(|(_, layout)| layout.size()).sum()
    }
}

// SAFETY: it is the standard allocator.
unsafe impl GlobalAlloc for Checked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.note(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.note(unsafe { System.alloc_zeroed(layout) }, layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let known = self.0.borrow_mut().remove(&block.addr()).map(|(_, layout)| layout);
        assert_eq!(known, Some(layout), "a block goes back once, as what it was taken");
        // SAFETY: the caller's promise, checked above.
        unsafe { System.dealloc(block, layout) }
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        for (block, layout) in self.0.borrow().values() {
            // SAFETY: it is out, as what `note` wrote down.
            unsafe { System.dealloc(*block, *layout) }
        }
    }
}

/// A block in the caller's hands, filled with a byte of its own.
#[derive(Clone, Copy, Debug)]
struct Owned {
    block: *mut u8,
    layout: Layout,
    fill: u8,
}

impl Owned {
    fn new(block: *mut u8, layout: Layout, fill: u8) -> Self {
        assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()));
        // SAFETY: the block has that size and is the caller's.
        unsafe { block.write_bytes(fill, layout.size()) };
        Owned { block, layout, fill }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: as above, and it was filled.
        unsafe { std::slice::from_raw_parts(self.block, self.layout.size()) }
    }

    fn assert_untouched(&self, bytes: usize) {
        assert!(self.bytes()[..bytes].iter().all(|byte| *byte == self.fill), "nobody else wrote into it");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { size: usize, align: usize, zeroed: bool },
    Free { which: prop::sample::Index },
    Resize { which: prop::sample::Index, size: usize },
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..=128_usize, 2 => 1..=SIZE_MAX, 1 => SIZE_MAX - 16..=SIZE_MAX + 64, 1 => 1..=20_000_usize]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let align = prop_oneof![8 => 0..=3_u32, 1 => 4..=7_u32].prop_map(|power| 1 << power);
    let take = (sizes(), align, any::<bool>()).prop_map(|(size, align, zeroed)| Step::Take { size, align, zeroed });
    let free = any::<prop::sample::Index>().prop_map(|which| Step::Free { which });
    let resize = (any::<prop::sample::Index>(), sizes()).prop_map(|(which, size)| Step::Resize { which, size });
    prop::collection::vec(prop_oneof![4 => take, 3 => free, 2 => resize], 1..STEPS)
}

fn run(memory: &Recycling<Checked>, steps: Vec<Step>) -> Vec<Owned> {
    let mut owned: Vec<Owned> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        let fill = number as u8;
        match step {
            Step::Take { size, align, zeroed } => {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not 0.
                let block = unsafe { if zeroed { memory.alloc_zeroed(layout) } else { memory.alloc(layout) } };
                if zeroed {
                    // SAFETY: all of it was written.
                    let bytes = unsafe { std::slice::from_raw_parts(block, size) };
                    assert!(bytes.iter().all(|byte| *byte == 0));
                }
                owned.push(Owned::new(block, layout, fill));
            }
            Step::Free { which } if !owned.is_empty() => {
                let old = owned.swap_remove(which.index(owned.len()));
                old.assert_untouched(old.layout.size());
                // SAFETY: it came from this allocator with that layout, and is forgotten here.
                unsafe { memory.dealloc(old.block, old.layout) };
            }
            Step::Resize { which, size } if !owned.is_empty() => {
                let old = owned.swap_remove(which.index(owned.len()));
                // SAFETY: as above; the size is not 0 and far below the largest.
                let block = unsafe { memory.realloc(old.block, old.layout, size) };
                let layout = Layout::from_size_align(size, old.layout.align()).unwrap();
                let kept = old.layout.size().min(size);
                // SAFETY: that many bytes were copied or stayed.
                let bytes = unsafe { std::slice::from_raw_parts(block, kept) };
                assert!(bytes.iter().all(|byte| *byte == old.fill), "what was in it moves along");
                owned.push(Owned::new(block, layout, fill));
            }
            Step::Free { .. } | Step::Resize { .. } => {}
        }
        owned.iter().for_each(|owned| owned.assert_untouched(owned.layout.size().min(8)));
    }
    owned
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_are_aligned_apart_and_keep_their_content(steps in steps()) {
        let memory = Recycling::new(Checked::default());
        let owned = run(&memory, steps);
        let mut ranges: Vec<_> = owned.iter().map(|o| (o.block.addr(), o.block.addr() + o.layout.size())).collect();
        ranges.sort_unstable();
        prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no two blocks overlap");
        for owned in owned {
            owned.assert_untouched(owned.layout.size());
            // SAFETY: it came from this allocator with that layout.
            unsafe { memory.dealloc(owned.block, owned.layout) };
        }
    }
}

/// Takes and frees `count` blocks, and returns what the allocator keeps of them.
fn burst(memory: &Recycling<Checked>, layout: Layout, count: usize) -> usize {
    // SAFETY: the size is not 0, and each block goes back once.
    unsafe {
        let blocks: Vec<_> = (0..count).map(|_| memory.alloc(layout)).collect();
        blocks.into_iter().for_each(|block| memory.dealloc(block, layout));
    }
    memory.kept_bytes()
}

#[test]
fn a_burst_gives_its_memory_back_up_to_the_bound_of_its_size() {
    for size in [1, 16, 100, 1_000, SIZE_MAX] {
        let inner = Checked::default();
        let memory = Recycling::new(inner);
        let layout = Layout::from_size_align(size, 8).unwrap();
        let kept = burst(&memory, layout, 2 * KEPT_BYTES / size.next_multiple_of(16) + 3);
        assert!(kept <= KEPT_BYTES && kept > KEPT_BYTES - size.next_multiple_of(16), "{size}: {kept}");
    }
}

#[test]
fn a_freed_block_is_given_out_again_and_a_large_one_is_not_kept() {
    let memory = Recycling::new(Checked::default());
    let small = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the sizes are not 0, and each block goes back once.
    unsafe {
        let first = memory.alloc(small);
        memory.dealloc(first, small);
        let again = memory.alloc(Layout::from_size_align(97, 1).unwrap());
        assert_eq!(first, again, "of the same size, rounded up");
        memory.dealloc(again, small);
    }
    for layout in [(SIZE_MAX + 1, 8), (64, 2 * ALIGN_MAX)] {
        let before = memory.kept_bytes();
        assert_eq!(burst(&memory, Layout::from_size_align(layout.0, layout.1).unwrap(), 3), before, "{layout:?}");
    }
}

#[test]
fn what_is_not_kept_has_gone_back_to_the_inner_allocator() {
    let inner = std::rc::Rc::new(Checked::default());
    struct Shared(std::rc::Rc<Checked>);
    // SAFETY: as `Checked`.
    unsafe impl GlobalAlloc for Shared {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promise.
            unsafe { self.0.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { self.0.dealloc(block, layout) }
        }
    }
    let memory = Recycling::new(Shared(inner.clone()));
    // SAFETY: the sizes are not 0, and each block goes back once.
    unsafe {
        for size in [1, 50, 500, 1_024, 1_025, 100_000] {
            let layout = Layout::from_size_align(size, 8).unwrap();
            let blocks: Vec<_> = (0..200).map(|_| memory.alloc(layout)).collect();
            blocks.into_iter().for_each(|block| memory.dealloc(block, layout));
        }
    }
    assert_eq!(inner.bytes(), memory.kept_bytes());
}
