use rusqlite::types::ToSql;

use crate::Error;

/// The parameters of a statement, in order.
pub trait Params {
    /// Hands each parameter to `bind`.
    fn each(self, bind: impl FnMut(&dyn ToSql) -> Result<(), Error>) -> Result<(), Error>;
}

/// No parameters. An array of this type only, so that `[]` needs no annotation.
impl Params for [&(dyn ToSql + Send + Sync); 0] {
    fn each(self, _: impl FnMut(&dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        Ok(())
    }
}

impl Params for &[&dyn ToSql] {
    fn each(self, mut bind: impl FnMut(&dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        self.iter().try_for_each(|value| bind(*value))
    }
}

macro_rules! arrays {
    ($($length:literal)+) => {$(
        impl<T: ToSql> Params for [T; $length] {
            fn each(self, mut bind: impl FnMut(&dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
                self.iter().try_for_each(|value| bind(value))
            }
        }
    )+};
}
arrays!(1 2 3 4 5 6 7 8);

macro_rules! tuples {
    ($(($($name:ident)+))+) => {$(
        impl<$($name: ToSql),+> Params for ($($name,)+) {
            #[allow(non_snake_case, reason = "the names are those of the types")]
            fn each(self, mut bind: impl FnMut(&dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
                let ($($name,)+) = self;
                $(bind(&$name)?;)+
                Ok(())
            }
        }
    )+};
}
tuples!((A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H));

/// Parameters from an iterator; see [`params_from_iter`].
#[derive(Clone, Debug)]
pub struct ParamsFromIter<I>(I);

/// The items of an iterator as parameters.
pub fn params_from_iter<I: IntoIterator<Item: ToSql>>(values: I) -> ParamsFromIter<I> {
    ParamsFromIter(values)
}

impl<I: IntoIterator<Item: ToSql>> Params for ParamsFromIter<I> {
    fn each(self, mut bind: impl FnMut(&dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        self.0.into_iter().try_for_each(|value| bind(&value))
    }
}
