//! Parts of lists, as many rows as a page has room for.

/// Rows of a part.
const SHOWN: usize = 50;

/// The rows of a list after the one that bears the name `after`, and the name of their last one if further ones follow. From the first row
/// on if none bears that name.
pub(super) fn following<'l, T>(list: &'l [T], name: impl Fn(&T) -> String, after: &str) -> (&'l [T], Option<String>) {
    let before = list.iter().position(|row| name(row) == after).map_or(0, |at| at + 1);
    let rest = list.get(before..).unwrap_or_default();
    let (shown, further) = rest.split_at(SHOWN.min(rest.len()));
    (shown, shown.last().filter(|_| !further.is_empty()).map(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_in_one_part() {
        let list: Vec<usize> = (0..120).collect();
        let (mut seen, mut after): (Vec<usize>, String) = Default::default();
        loop {
            let (shown, next) = following(&list, usize::to_string, &after);
            assert!(shown.len() <= SHOWN);
            seen.extend(shown);
            let Some(next) = next else { break };
            after = next;
        }
        assert_eq!(seen, list);
        assert_eq!(following(&list, usize::to_string, "119"), (&[][..], None), "nothing follows the last one");
        assert_eq!(following(&list, usize::to_string, "gone").0, &list[..SHOWN]);
    }
}
