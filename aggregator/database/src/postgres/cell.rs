//! Reads PostgreSQL's values as SQLite would hand them out.
use std::error::Error as StdError;

use rusqlite::types::{FromSqlError, ValueRef};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::Error;

/// A value as it lies in a row.
struct Cell<'r>(ValueRef<'r>);

impl<'r> FromSql<'r> for Cell<'r> {
    fn from_sql(kind: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let value = match *kind {
            Type::INT8 => ValueRef::Integer(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => ValueRef::Integer(i32::from_be_bytes(raw.try_into()?).into()),
            Type::INT2 => ValueRef::Integer(i16::from_be_bytes(raw.try_into()?).into()),
            Type::BOOL => ValueRef::Integer(i64::from(raw.first() == Some(&1))),
            Type::NUMERIC => ValueRef::Integer(whole(raw).ok_or("a sum is no whole number of 64 bits")?),
            Type::BYTEA => ValueRef::Blob(raw),
            _ => ValueRef::Text(raw),
        };
        Ok(Cell(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Cell(ValueRef::Null))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::INT8
                | Type::INT4
                | Type::INT2
                | Type::BOOL
                | Type::NUMERIC
                | Type::BYTEA
                | Type::TEXT
                | Type::VARCHAR
                | Type::NAME
                | Type::UNKNOWN
        )
    }
}

/// The value of a column, from 0.
pub(crate) fn cell(row: &Row, column: usize) -> Result<ValueRef<'_>, Error> {
    if column >= row.len() {
        return Err(Error::Column { column, problem: FromSqlError::OutOfRange(column as i64) });
    }
    row.try_get::<_, Cell<'_>>(column).map(|cell| cell.0).map_err(Error::Postgres)
}

/// A `numeric` as an integer: what `sum` makes of integers. None if it is not whole, or larger than 64 bits.
///
/// Its form: the number of digits to the base of 10,000, the weight of the first one, a sign, a scale, the digits; each of 16 bits
/// (PostgreSQL, `src/backend/utils/adt/numeric.c`, `numeric_send`).
fn whole(raw: &[u8]) -> Option<i64> {
    let word = |number: usize| Some(i16::from_be_bytes(raw.get(number * 2..number * 2 + 2)?.try_into().ok()?));
    let (digits, weight, sign) = (word(0)?, word(1)?, word(2)?);
    let is_negative = match sign.cast_unsigned() {
        0 => false,
        0x4000 => true,
        _ => return None,
    };
    let mut sum: i128 = 0;
    for place in 0..=i32::from(weight) {
        let digit = if place < i32::from(digits) { word(4 + usize::try_from(place).ok()?)? } else { 0 };
        sum = sum.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    for place in i32::from(weight).max(-1) + 1..i32::from(digits) {
        if word(4 + usize::try_from(place).ok()?)? != 0 {
            return None;
        }
    }
    i64::try_from(if is_negative { -sum } else { sum }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn sums_are_whole_numbers_of_64_bits() {
        assert_eq!(whole(&numeric(&[0, 0, 0, 0])), Some(0));
        assert_eq!(whole(&numeric(&[1, 0, 0, 0, 7])), Some(7));
        assert_eq!(whole(&numeric(&[1, 1, 0, 0, 12])), Some(120_000));
        assert_eq!(whole(&numeric(&[2, 1, 0x4000, 0, 1, 5])), Some(-10_005));
        assert_eq!(whole(&numeric(&[5, 4, 0, 0, 922, 3372, 368, 5477, 5807])), Some(i64::MAX));
        assert_eq!(whole(&numeric(&[5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808])), Some(i64::MIN));
    }

    #[test]
    fn other_numbers_are_refused() {
        assert_eq!(whole(&numeric(&[5, 4, 0, 0, 922, 3372, 368, 5477, 5808])), None, "2^63");
        assert_eq!(whole(&numeric(&[1, -1, 0, 1, 5000])), None, "a half");
        assert_eq!(whole(&numeric(&[0, 0, 0xC000_u16.cast_signed(), 0])), None, "not a number");
        assert_eq!(whole(&[0, 1]), None, "cut short");
    }
}
