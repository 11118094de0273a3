//! `ui.theme`: what tenants see instead of weir's name.
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name.
const NAME_MAX_CHARS: usize = 60;

/// The name, the logo and the colour of tenants' own pages, and of the page that asks people to sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThemeFile {
    /// The name, at most 60 characters. Absent: `weir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A file with the logo: SVG or PNG, at most 64 KB; relative to this file, and read at the start. Absent: the name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<PathBuf>,
    /// The colour of buttons, links and charts on a light page, as `#rrggbb`; it must be dark enough to be read on white. Absent: a blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// The same on a dark page; it must be light enough. Absent: a light blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dark_color: Option<String>,
}

/// The least contrast of text, in hundredths (WCAG 2.2, 1.4.3).
const CONTRAST_MIN: u64 = 450;
/// What stands behind text on a light and on a dark page.
const LIGHT: [u8; 3] = [0xff, 0xff, 0xff];
const DARK: [u8; 3] = [0x11, 0x16, 0x1c];

pub(super) fn check(file: ThemeFile) -> Result<ThemeFile, String> {
    if let Some(name) = &file.name
        && (name.trim().is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control))
    {
        return Err(format!("`name` is 1 to {NAME_MAX_CHARS} characters"));
    }
    for (field, color, back) in [("color", &file.color, LIGHT), ("dark_color", &file.dark_color, DARK)] {
        let Some(color) = color else { continue };
        let parts = parse(color).ok_or_else(|| format!("`{field}`: {color:?} is no colour; write it as #0b57a4"))?;
        let contrast = contrast(parts, back);
        if contrast < CONTRAST_MIN {
            let (whole, part) = (contrast / 100, contrast % 100);
            return Err(format!(
                "`{field}`: {color} has a contrast of {whole}.{part:02} on that page; text needs 4.5 (WCAG 1.4.3)"
            ));
        }
    }
    Ok(file)
}

/// Red, green and blue of `#rrggbb`.
fn parse(color: &str) -> Option<[u8; 3]> {
    let digits = color.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    let mut parts = [0; 3];
    hex::decode_to_slice(digits, &mut parts).ok().map(|()| parts)
}

/// The contrast of two colours (WCAG 2.2, "contrast ratio"), in hundredths.
fn contrast(one: [u8; 3], other: [u8; 3]) -> u64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + OFFSET) * 100 / (one.min(other) + OFFSET)
}

/// 0.05 of the brightest, in millionths.
const OFFSET: u64 = 50_000;

/// The relative luminance (WCAG 2.2), in millionths.
fn luminance([red, green, blue]: [u8; 3]) -> u64 {
    (2_126 * linear(red) + 7_152 * linear(green) + 722 * linear(blue)) / 10_000
}

/// A part of a colour without the gamma of sRGB, in millionths: between the values of the standard's curve at every 16th step.
fn linear(part: u8) -> u64 {
    const CURVE: [u64; 17] = [
        0, 5_182, 14_444, 29_557, 51_269, 80_220, 116_971, 162_029, 215_861, 278_894, 351_533, 434_154, 527_115,
        630_757, 745_404, 871_367, 1_008_944,
    ];
    let (step, rest) = (usize::from(part / 16), u64::from(part % 16));
    let at = |step: usize| CURVE.get(step).copied().unwrap_or(1_000_000);
    (at(step) + (at(step + 1) - at(step)) * rest / 16).min(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_color(color: &str) -> Result<ThemeFile, String> {
        check(ThemeFile { color: Some(color.to_owned()), ..ThemeFile::default() })
    }

    #[test]
    fn contrast_is_that_of_the_standard() {
        assert_eq!(contrast([0; 3], [0xff; 3]), 2_100, "black on white");
        assert_eq!(contrast([0xff; 3], [0xff; 3]), 100);
        // #767676 is known as the lightest grey that may stand on white.
        assert!(contrast([0x76; 3], [0xff; 3]) >= CONTRAST_MIN && contrast([0x78; 3], [0xff; 3]) < CONTRAST_MIN);
    }

    #[test]
    fn colours_that_cannot_be_read_are_refused() {
        assert!(with_color("#0b57a4").is_ok());
        assert!(with_color("#ffd700").expect_err("refused").contains("contrast"));
        for wrong in ["0b57a4", "#0b57a", "#0b57ag", "red", "#0b57a4;} body {display: none"] {
            assert!(with_color(wrong).expect_err("refused").contains("no colour"), "{wrong}");
        }
        assert!(check(ThemeFile { dark_color: Some("#0b57a4".to_owned()), ..ThemeFile::default() }).is_err());
    }

    #[test]
    fn a_name_is_short_and_one_line() {
        let named = |name: &str| check(ThemeFile { name: Some(name.to_owned()), ..ThemeFile::default() });
        assert!(
            named("Acme AI").is_ok()
                && named(" ").is_err()
                && named("a\nb").is_err()
                && named(&"x".repeat(61)).is_err()
        );
    }
}
