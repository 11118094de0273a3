//! The model that each tenant was served by last, so that small differences in cost do not make it change.

/// How many tenants and rules are remembered. A further one takes the place of another, which then begins anew.
const HABITS_MAX: usize = 1024;

/// The last choices of a worker.
#[derive(Debug, Default)]
pub struct Habits(Vec<Option<(u64, u16)>>);

impl Habits {
    /// The model that was chosen last under this key.
    pub(super) fn model(&self, key: u64) -> Option<usize> {
        let (found, model) = (*self.0.get(place(key))?)?;
        (found == key).then_some(model.into())
    }

    /// Remembers a choice.
    pub(super) fn keep(&mut self, key: u64, model: usize) {
        if self.0.is_empty() {
            self.0.resize(HABITS_MAX, None);
        }
        if let (Some(place), Ok(model)) = (self.0.get_mut(place(key)), u16::try_from(model)) {
            *place = Some((key, model));
        }
    }
}

const fn place(key: u64) -> usize {
    (key % HABITS_MAX as u64) as usize
}
