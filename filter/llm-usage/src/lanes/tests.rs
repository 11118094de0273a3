use super::*;
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn the_first_is_found_wherever_it_stands() {
    for length in 0..70 {
        let mut bytes = vec![b'a'; length];
        assert_eq!(find(&bytes, |bytes| bytes.equals(b'x')), None, "{length}");
        for at in (0..length).rev() {
            bytes[at] = b'x';
            assert_eq!(find(&bytes, |bytes| bytes.equals(b'x')), Some(at), "{length}");
        }
    }
}

#[test]
fn zeros_behind_a_short_block_are_not_found() {
    assert_eq!(find(b"abc", |bytes| bytes.is_below(0x20)), None);
    assert_eq!(find(b"a\0c", |bytes| bytes.is_below(0x20)), Some(1));
}

#[test]
fn a_short_block_is_its_bytes_and_zeros() {
    let bytes: Vec<u8> = (1..=16).collect();
    for length in 0..16 {
        let short = load_short(&bytes[..length]);
        let mut padded = [0; 16];
        padded[..length].copy_from_slice(&bytes[..length]);
        for byte in 0..=16 {
            let expected = Lanes::load(&padded).equals(byte).bits();
            assert_eq!(short.equals(byte).bits(), expected, "{byte} of {length}");
        }
    }
}

#[test]
fn a_full_count_is_exact() {
    let mut count = Count::new();
    for _ in 0..COUNTED_MAX {
        count.add(Lanes::splat(b'x').equals(b'x'));
    }
    assert_eq!(count.get(), 255 * 16);
}

proptest! {
    #[test]
    fn each_lane_does_what_a_byte_does(block: Block, other: Block, byte: u8) {
        let (own, another) = (Lanes::load(&block), Lanes::load(&other));
        let bits = |is: &dyn Fn(u8, u8) -> bool| {
            block.iter().zip(other).enumerate().fold(0, |bits, (at, (own, other))| bits | Bits::from(is(*own, other)) << at)
        };
        let high = |byte: u8| byte >= 0x80;
        prop_assert_eq!(own.equals(byte).bits(), bits(&|own, _| own == byte));
        prop_assert_eq!(own.is_below(byte).bits(), bits(&|own, _| own < byte));
        prop_assert_eq!(own.is_from(byte).bits(), bits(&|own, _| own >= byte));
        prop_assert_eq!(own.sub(another).bits(), bits(&|own, other| high(own.wrapping_sub(other))));
        prop_assert_eq!(own.or(another).bits(), bits(&|own, other| high(own | other)));
        prop_assert_eq!(own.and_not(another).bits(), bits(&|own, other| high(own & !other)));
        prop_assert_eq!(own.sum(), block.iter().map(|byte| u32::from(*byte)).sum::<u32>());
    }

    #[test]
    fn each_marked_byte_is_asked_about(bytes in proptest::collection::vec(0_u8..4, 0..100), one in 1_u8..4, at in 0_usize..100) {
        let expected = bytes.get(at) == Some(&one);
        prop_assert_eq!(any_at(&bytes, |lanes| lanes.equals(one), |found| found == at), expected);
    }

    #[test]
    fn it_finds_what_one_byte_at_a_time_finds(bytes in proptest::collection::vec(any::<u8>(), 0..100), below: u8) {
        let expected = bytes.iter().position(|byte| *byte < below);
        prop_assert_eq!(find(&bytes, |bytes| bytes.is_below(below)), expected);
    }
}
