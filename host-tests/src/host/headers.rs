//! Ordered multi-maps of header fields, and their wire form between host and guest.

use super::abi::Status;

/// Size of the pair count and of each length in a serialised map, in bytes.
const LENGTH_BYTES: usize = 4;

/// Header fields in order. Names are compared without case and kept as they were written, values are bytes, a name may
/// occur more than once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, value.escape_ascii().to_string()))).finish()
    }
}

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of `name` as text.
    ///
    /// # Panics
    /// If the value is not UTF-8; use [`Headers::bytes`] then.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.bytes(name)?;
        Some(std::str::from_utf8(value).unwrap_or_else(|_| panic!("header `{name}` is not UTF-8: {value:?}")))
    }

    /// The first value of `name` as bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Appends a field.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push((name.to_owned(), value.as_ref().to_vec()));
    }

    /// Leaves exactly one field of this name, at the place of the first or at the end.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let Some(first) = self.set_first(name, value) else { return };
        let mut index = 0;
        self.0.retain(|(field, _)| {
            index += 1;
            !field.eq_ignore_ascii_case(name) || index == first + 1
        });
    }

    /// Changes the first field of this name and leaves its copies; adds the field if there is none. Returns the index
    /// of the existing field.
    pub(crate) fn set_first(&mut self, name: &str, value: impl AsRef<[u8]>) -> Option<usize> {
        let Some(first) = self.0.iter().position(|(field, _)| field.eq_ignore_ascii_case(name)) else {
            self.add(name, value);
            return None;
        };
        self.0[first].1 = value.as_ref().to_vec();
        Some(first)
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
    }

    /// Removes the first field of this name.
    pub(crate) fn remove_first(&mut self, name: &str) {
        if let Some(first) = self.0.iter().position(|(field, _)| field.eq_ignore_ascii_case(name)) {
            self.0.remove(first);
        }
    }

    /// How many fields are headers, and no pseudo fields of the gateway's.
    pub(crate) fn real_len(&self) -> usize {
        self.0.iter().filter(|(name, _)| !name.starts_with(':')).count()
    }

    /// The first `fields` of them.
    pub fn first(&self, fields: usize) -> Self {
        Self(self.0.iter().take(fields).cloned().collect())
    }

    /// The same fields, every name in lower case.
    pub(crate) fn in_lower_case(self) -> Self {
        self.with_names(str::to_ascii_lowercase)
    }

    /// The same fields, named as HTTP/1.1 peers spell them: `Content-Type`. Names with capitals of their own stay.
    pub(crate) fn in_title_case(self) -> Self {
        self.with_names(|name| {
            let is_plain = !name.starts_with(':') && !name.bytes().any(|byte| byte.is_ascii_uppercase());
            if is_plain { title_case(name) } else { name.to_owned() }
        })
    }

    fn with_names(self, spell: impl Fn(&str) -> String) -> Self {
        Self(self.0.into_iter().map(|(name, value)| (spell(&name), value)).collect())
    }

    /// Appends all fields of `other`.
    pub fn extend(&mut self, other: &Headers) {
        self.0.extend(other.0.iter().cloned());
    }

    /// The value of `content-length`, if it is a number.
    pub fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.bytes("content-length")?).ok()?.parse().ok()
    }

    /// The format in which a map is passed to the guest: count, then pairs of lengths, then NUL-terminated names and
    /// values. All integers are 32-bit little endian.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        wire.extend_from_slice(&wire_length(self.0.len()));
        for (name, value) in &self.0 {
            wire.extend_from_slice(&wire_length(name.len()));
            wire.extend_from_slice(&wire_length(value.len()));
        }
        for (name, value) in &self.0 {
            wire.extend_from_slice(name.as_bytes());
            wire.push(0);
            wire.extend_from_slice(value);
            wire.push(0);
        }
        wire
    }

    /// Reads a map in the guest's format.
    ///
    /// # Errors
    /// [`Status::BadArgument`] if lengths exceed the bytes or a name is not UTF-8.
    pub(crate) fn from_wire(wire: &[u8]) -> Result<Self, Status> {
        if wire.is_empty() {
            return Ok(Self::new());
        }
        Self::parse_wire(wire).ok_or(Status::BadArgument)
    }

    fn parse_wire(wire: &[u8]) -> Option<Self> {
        let count = read_length(wire, 0)?;
        let mut at = LENGTH_BYTES.checked_add(count.checked_mul(2 * LENGTH_BYTES)?)?;
        let mut headers = Self::new();
        for index in 0..count {
            let lengths = LENGTH_BYTES + index * 2 * LENGTH_BYTES;
            let name = wire.get(at..at + read_length(wire, lengths)?)?;
            at += name.len() + 1;
            let value = wire.get(at..at + read_length(wire, lengths + LENGTH_BYTES)?)?;
            at += value.len() + 1;
            headers.add(std::str::from_utf8(name).ok()?, value);
        }
        Some(headers)
    }
}

fn title_case(name: &str) -> String {
    let mut begins = true;
    let spell = |letter: char| {
        let spelt = if begins { letter.to_ascii_uppercase() } else { letter };
        begins = letter == '-';
        spelt
    };
    name.chars().map(spell).collect()
}

fn wire_length(length: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(length).expect("a guest's map is below 4 GiB").to_le_bytes()
}

fn read_length(wire: &[u8], at: usize) -> Option<usize> {
    let bytes = wire.get(at..at.checked_add(LENGTH_BYTES)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in fields {
            headers.add(name.as_ref(), value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_survives_the_way_to_the_guest_and_back() {
        let map: Headers = [("a", b"1".as_slice()), ("b", b""), ("a", &[0xff, 0])].into_iter().collect();
        assert_eq!(Headers::from_wire(&map.to_wire()), Ok(map));
    }

    #[test]
    fn a_map_whose_lengths_lie_is_refused() {
        let mut wire = [("name", "value")].into_iter().collect::<Headers>().to_wire();
        wire[4] = 200;
        assert_eq!(Headers::from_wire(&wire), Err(Status::BadArgument));
        assert_eq!(Headers::from_wire(&[9, 0, 0, 0]), Err(Status::BadArgument));
    }

    #[test]
    fn setting_a_repeated_field_leaves_one_in_the_first_place() {
        let mut map: Headers = [("x", "1"), ("y", "2"), ("X", "3")].into_iter().collect();
        map.set("X", "4");
        assert_eq!(map, [("x", "4"), ("y", "2")].into_iter().collect());
    }

    #[test]
    fn setting_the_first_field_leaves_its_copies() {
        let mut map: Headers = [("X", "1"), ("y", "2"), ("x", "3")].into_iter().collect();
        assert_eq!(map.set_first("x", "4"), Some(0));
        assert_eq!(map, [("X", "4"), ("y", "2"), ("x", "3")].into_iter().collect());
    }

    #[test]
    fn names_are_spelt_as_hosts_and_peers_spell_them() {
        let map: Headers = [(":path", "/"), ("content-type", "1"), ("X-AMZN-ID", "2")].into_iter().collect();
        let names = |map: Headers| map.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(map.clone().in_title_case()), [":path", "Content-Type", "X-AMZN-ID"]);
        assert_eq!(names(map.in_lower_case()), [":path", "content-type", "x-amzn-id"]);
    }
}
