//! The classes that a request may be taken for.
//!
//! The path or its route says which class a request is of. Its body, its headers and its model may say something else, and
//! the client writes those. So what they say is added, and never takes the place of the path's class: a rule holds where
//! it holds for any of the classes, and a plan's `classes` must have all of them.
use weir_contract::Class;

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSet(u16);

impl ClassSet {
    /// The one class.
    pub const fn of(class: Class) -> Self {
        ClassSet(1 << class as u16)
    }

    /// With this class, too.
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        ClassSet(self.0 | ClassSet::of(class).0)
    }

    /// Whether the class is in it.
    pub const fn contains(self, class: Class) -> bool {
        self.0 & ClassSet::of(class).0 != 0
    }

    /// Returns true if `is_so` holds for one of its classes.
    pub fn any(self, is_so: impl Fn(Class) -> bool) -> bool {
        self.iter().any(is_so)
    }

    /// Its classes.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let class = Class::ALL.get(rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            class.copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = ClassSet::of(Class::Chat).with(Class::Other);
        assert!(set.contains(Class::Chat) && set.contains(Class::Other) && !set.contains(Class::Mcp));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Class::Chat, Class::Other]);
        assert!(set.any(|class| class == Class::Other) && !ClassSet::default().any(|_| true));
        let all = Class::ALL.into_iter().fold(ClassSet::default(), ClassSet::with);
        assert_eq!(all.iter().collect::<Vec<_>>(), Class::ALL);
        for class in Class::ALL {
            assert_eq!(ClassSet::of(class).iter().collect::<Vec<_>>(), [class]);
        }
    }
}
