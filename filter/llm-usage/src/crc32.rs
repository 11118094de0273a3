//! CRC-32 as gzip, PNG and AWS event streams use it (reflected, polynomial 0xEDB88320).

const TABLE: [u32; 256] = table();

/// A checksum in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    pub(crate) const fn new() -> Self {
        Crc32(u32::MAX)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.0 as u8) ^ byte;
            let step = TABLE.get(usize::from(index)).copied().unwrap_or_default();
            self.0 = (self.0 >> 8) ^ step;
        }
    }

    pub(crate) const fn value(self) -> u32 {
        !self.0
    }
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, where a wrong index is an error")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::Crc32;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        let mut crc = Crc32::new();
        crc.update(b"12345");
        crc.update(b"6789");
        assert_eq!(crc.value(), 0xCBF4_3926);
    }
}
