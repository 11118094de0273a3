//! Shared data: versioned values under keys, with compare-and-swap.

use std::collections::BTreeMap;

use crate::host::abi::Status;
use crate::host::quirks::{Quirk, Quirks};

/// How a host compares keys and versions.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataRules {
    alias_by_crc32: bool,
    cas_ignored_on_missing_key: bool,
    cas_required_on_existing_key: bool,
    removed_key_stays: bool,
    reads_tear: bool,
}

impl DataRules {
    /// The rules of a host with these quirks.
    pub fn of(quirks: &Quirks) -> Self {
        Self {
            alias_by_crc32: quirks.has(Quirk::KeysAliasByCrc32),
            cas_ignored_on_missing_key: quirks.has(Quirk::CasIgnoredOnMissingKey),
            cas_required_on_existing_key: quirks.has(Quirk::CasRequiredOnExistingKey),
            removed_key_stays: quirks.has(Quirk::RemovedKeyStays),
            reads_tear: quirks.has(Quirk::SharedReadsTear),
        }
    }

    fn slot(self, key: &[u8]) -> Vec<u8> {
        if self.alias_by_crc32 { crc32(key).to_be_bytes().to_vec() } else { key.to_vec() }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    version: u32,
    /// The previous value and its version.
    former: Option<(Vec<u8>, u32)>,
}

impl Entry {
    /// The value that a reader sees if it copies the former value while that is overwritten: half of either, under the
    /// former version.
    fn torn(&self) -> Option<(Vec<u8>, u32)> {
        let (mut torn, version) = self.former.clone()?;
        let middle = torn.len() / 2;
        for (byte, new) in torn.iter_mut().zip(&self.value).take(middle) {
            *byte = *new;
        }
        Some((torn, version))
    }
}

/// Versioned values, by `vm_id` and key.
#[derive(Debug, Default)]
pub struct SharedData {
    entries: BTreeMap<(String, Vec<u8>), Entry>,
    last_version: u32,
    /// A key whose next read meets a writer.
    tearing: Option<(String, Vec<u8>)>,
}

impl SharedData {
    /// The value of a key and its version.
    ///
    /// # Errors
    /// [`Status::NotFound`] if the key was never set.
    pub fn get(&mut self, rules: DataRules, vm_id: &str, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        let slot = (vm_id.to_owned(), rules.slot(key));
        let entry = self.entries.get(&slot).ok_or(Status::NotFound)?;
        let tears = self.tearing.take_if(|tearing| *tearing == slot).is_some() && rules.reads_tear;
        let torn = if tears { entry.torn() } else { None };
        Ok(torn.unwrap_or_else(|| (entry.value.clone(), entry.version)))
    }

    /// Makes the next reader of this key see half of its value, on a host where that can happen.
    pub(crate) fn tear(&mut self, rules: DataRules, vm_id: &str, key: &[u8]) {
        self.tearing = Some((vm_id.to_owned(), rules.slot(key)));
    }

    /// Sets a key; `cas` 0 ignores the version. No value empties or removes the key.
    ///
    /// # Errors
    /// [`Status::CasMismatch`] if the stored version differs from `cas`, or on the removal of a missing key.
    pub fn set(
        &mut self,
        rules: DataRules,
        vm_id: &str,
        key: &[u8],
        value: Option<&[u8]>,
        cas: u32,
    ) -> Result<(), Status> {
        let slot = (vm_id.to_owned(), rules.slot(key));
        let stored = self.entries.get(&slot).map(|entry| entry.version);
        if !version_agrees(rules, stored, cas) {
            return Err(Status::CasMismatch);
        }
        if value.is_none() && !rules.removed_key_stays {
            return self.entries.remove(&slot).map(drop).ok_or(Status::CasMismatch);
        }
        self.last_version += 1;
        let former = self.entries.remove(&slot).map(|entry| (entry.value, entry.version));
        let entry = Entry { value: value.unwrap_or_default().to_vec(), version: self.last_version, former };
        self.entries.insert(slot, entry);
        Ok(())
    }

    /// Clears the data, as a restart of the process does.
    pub(crate) fn wipe(&mut self) {
        self.entries.clear();
    }

    /// Number of keys, emptied ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if no key was ever set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn version_agrees(rules: DataRules, stored: Option<u32>, cas: u32) -> bool {
    match (stored, cas) {
        (None, 0) => true,
        (None, _) => rules.cas_ignored_on_missing_key,
        (Some(_), 0) => !rules.cas_required_on_existing_key,
        (Some(version), cas) => version == cas,
    }
}

/// CRC-32 (IEEE 802.3, reflected), as nginx's `ngx_crc32_long`.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::quirks::Profile;

    fn rules(profile: Profile) -> DataRules {
        DataRules::of(&Quirks::of(profile))
    }

    #[test]
    fn crc32_has_the_check_value_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn envoy_loses_the_update_of_one_of_two_creators() {
        let (mut data, rules) = (SharedData::default(), rules(Profile::Envoy));
        assert_eq!(data.set(rules, "vm", b"k", Some(b"first"), 0), Ok(()));
        assert_eq!(data.set(rules, "vm", b"k", Some(b"second"), 0), Ok(()));
        assert_eq!(data.set(rules, "vm", b"new", Some(b"x"), 77), Ok(()), "a bogus number creates a missing key");
        assert_eq!(data.set(rules, "vm", b"new", Some(b"y"), 77), Err(Status::CasMismatch));
    }

    #[test]
    fn envoy_only_empties_a_removed_key() {
        let (mut data, rules) = (SharedData::default(), rules(Profile::Envoy));
        data.set(rules, "vm", b"k", Some(b"v"), 0).expect("sets");
        data.set(rules, "vm", b"k", None, 0).expect("removes");
        assert_eq!(data.get(rules, "vm", b"k").map(|(value, _)| value), Ok(Vec::new()));
    }

    #[test]
    fn kong_wants_the_version_of_an_existing_key() {
        let (mut data, rules) = (SharedData::default(), rules(Profile::Kong));
        assert_eq!(data.set(rules, "vm", b"k", Some(b"v"), 9), Err(Status::CasMismatch), "nothing has version 9");
        assert_eq!(data.set(rules, "vm", b"k", Some(b"v"), 0), Ok(()));
        assert_eq!(data.set(rules, "vm", b"k", Some(b"w"), 0), Err(Status::CasMismatch));
        let (_, version) = data.get(rules, "vm", b"k").expect("is there");
        assert_eq!(data.set(rules, "vm", b"k", Some(b"w"), version), Ok(()));
    }

    #[test]
    fn kong_takes_two_keys_of_one_checksum_for_the_same() {
        assert_eq!(crc32(b"plumless"), crc32(b"buckeroo"), "the classic pair");
        let (mut data, rules) = (SharedData::default(), rules(Profile::Kong));
        data.set(rules, "vm", b"plumless", Some(b"acme's"), 0).expect("sets");
        assert_eq!(data.get(rules, "vm", b"buckeroo").map(|(value, _)| value), Ok(b"acme's".to_vec()));
    }

    #[test]
    fn vms_of_different_ids_share_nothing() {
        let (mut data, rules) = (SharedData::default(), rules(Profile::Envoy));
        data.set(rules, "one", b"k", Some(b"v"), 0).expect("sets");
        assert_eq!(data.get(rules, "two", b"k"), Err(Status::NotFound));
    }
}
