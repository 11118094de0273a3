//! The few words in which the SQL of both databases differs.
use super::Param;

/// The words of SQLite's SQL, and PostgreSQL's. They stand in the text in capitals.
const WORDS: [(&str, &str); 3] = [("INTEGER", "bigint"), ("BLOB", "bytea"), ("TEXT", "text")];

/// A name for a statement with parameters of these types.
pub(super) fn variant(sql: &str, params: &[Param]) -> String {
    let mut name = String::with_capacity(sql.len() + params.len() + 1);
    name.extend(params.iter().map(Param::letter));
    name.push(' ');
    name.push_str(sql);
    name
}

/// A statement without parameters.
pub(super) fn translated(sql: &str) -> String {
    for_params(sql, &[]).0
}

/// A statement for PostgreSQL, and how many parameters it has: `?1` becomes `$1`, or NULL where it is; a hint at an index is left out.
///
/// A parameter that is NULL stands in the statement because PostgreSQL cannot tell the type of `?1 IS NULL` otherwise.
pub(super) fn for_params(sql: &str, params: &[Param]) -> (String, usize) {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    let (mut next, mut most) = (1, 0);
    while let Some(at) = rest.find(['?', '\'', 'I', 'B', 'T', 'W']) {
        let starts_word = !rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = match rest.as_bytes()[0] {
            b'\'' => quoted(rest, &mut out),
            b'?' => {
                let after = parameter(rest, params, &mut next, &mut out);
                most = most.max(next - 1);
                after
            }
            _ if starts_word => word(rest, &mut out),
            _ => one(rest, &mut out),
        };
    }
    out.push_str(rest);
    (out, most)
}

/// Copies a character.
fn one<'s>(rest: &'s str, out: &mut String) -> &'s str {
    out.push_str(&rest[..1]);
    &rest[1..]
}

/// Copies a text in quotes; a quote in it is written twice, and then read as two texts.
fn quoted<'s>(rest: &'s str, out: &mut String) -> &'s str {
    let end = rest[1..].find('\'').map_or(rest.len(), |end| end + 2);
    out.push_str(&rest[..end]);
    &rest[end..]
}

/// Writes a parameter, `?` or `?1`.
fn parameter<'s>(rest: &'s str, params: &[Param], next: &mut usize, out: &mut String) -> &'s str {
    let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
    let number = rest[1..=digits].parse().unwrap_or(*next);
    *next = number + 1;
    match number.checked_sub(1).and_then(|at| params.get(at)) {
        Some(Param::Null) => out.push_str("NULL"),
        _ => out.push_str(&format!("${number}")),
    }
    &rest[1 + digits..]
}

/// Writes a word that PostgreSQL spells in another way, or a character of any other.
fn word<'s>(rest: &'s str, out: &mut String) -> &'s str {
    if let Some(after) = rest.strip_prefix("INDEXED BY ") {
        return after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    }
    if let Some(after) = rest.strip_prefix("WITHOUT ROWID") {
        return after;
    }
    for (theirs, ours) in WORDS {
        if let Some(after) = rest.strip_prefix(theirs)
            && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        {
            out.push_str(ours);
            return after;
        }
    }
    one(rest, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_and_nulls_stand_in_the_text() {
        let params = [Param::Integer(1), Param::Null];
        let sql = "SELECT a FROM t WHERE a > ?1 AND (?2 IS NULL OR b = ?2) AND c <> '?1 it''s'";
        let expected = "SELECT a FROM t WHERE a > $1 AND (NULL IS NULL OR b = NULL) AND c <> '?1 it''s'";
        assert_eq!(for_params(sql, &params), (expected.to_owned(), 2));
        assert_eq!(for_params("VALUES (?,?),(?,?)", &[]), ("VALUES ($1,$2),($3,$4)".to_owned(), 4));
        assert_eq!(for_params("VALUES (?10, ?1)", &[]), ("VALUES ($10, $1)".to_owned(), 10));
    }

    #[test]
    fn words_are_translated_outside_of_texts_and_names() {
        let sql = "CREATE TABLE T_BLOB(id BLOB PRIMARY KEY, n INTEGER, 'BLOB') WITHOUT ROWID";
        assert_eq!(translated(sql), "CREATE TABLE T_BLOB(id bytea PRIMARY KEY, n bigint, 'BLOB') ");
        let sql = "SELECT 1 FROM cost INDEXED BY cost_tenant WHERE CAST(x AS INTEGER) IN (?1)";
        assert_eq!(translated(sql), "SELECT 1 FROM cost  WHERE CAST(x AS bigint) IN ($1)");
    }
}
