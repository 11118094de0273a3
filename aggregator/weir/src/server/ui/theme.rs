//! What tenants see instead of weir's name: a name, a logo and a colour.
use std::path::Path;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use weir_dashboard::Brand;

use crate::config::ConfigError;
use crate::config::ui::theme::ThemeFile;

/// The largest logo, in bytes.
const LOGO_MAX_BYTES: usize = 64 * 1024;
/// How every PNG begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What is served for a theme.
#[derive(Debug, Default)]
pub(super) struct Theme {
    brand: Brand,
    style: String,
    logo: Option<(&'static str, Vec<u8>)>,
}

impl Theme {
    /// Reads the logo; a relative file lies in `base`.
    pub(super) fn new(file: ThemeFile, base: &Path) -> Result<Self, ConfigError> {
        let logo = file.logo.map(|path| read_logo(&base.join(path))).transpose()?;
        // Both were checked to be colours.
        let of = |color: &str| format!("--link: {color}; --accent: {color};");
        let light = file.color.as_deref().map(|color| format!(":root {{ {} }}\n", of(color)));
        let dark = file
            .dark_color
            .as_deref()
            .map(|color| format!("@media (prefers-color-scheme: dark) {{ :root {{ {} }} }}\n", of(color)));
        // A colour for light pages says nothing of dark ones: those keep weir's.
        let light = light.map(|light| format!("@media (prefers-color-scheme: light) {{ {light} }}\n"));
        let style: String = [light, dark].into_iter().flatten().collect();
        let brand = Brand { name: file.name, has_logo: logo.is_some(), has_style: !style.is_empty() };
        Ok(Theme { brand, style, logo })
    }

    /// What pages say of it.
    pub(super) fn brand(&self) -> &Brand {
        &self.brand
    }

    /// Its file of this name.
    pub(super) fn asset(&self, name: &str) -> Option<Response> {
        let of =
            |kind, bytes: Vec<u8>| ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], bytes).into_response();
        match name {
            "theme.css" if self.brand.has_style => Some(of("text/css; charset=utf-8", self.style.clone().into_bytes())),
            "logo" => self.logo.as_ref().map(|(kind, bytes)| of(kind, bytes.clone())),
            _ => None,
        }
    }
}

fn read_logo(path: &Path) -> Result<(&'static str, Vec<u8>), ConfigError> {
    let wrong = |problem| ConfigError::Field { path: path.to_owned(), field: "ui.theme.logo", problem };
    let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() > LOGO_MAX_BYTES {
        return Err(wrong(format!("{} bytes; at most {LOGO_MAX_BYTES}", bytes.len())));
    }
    let is_svg = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("<svg"));
    match () {
        () if bytes.starts_with(PNG) => Ok(("image/png", bytes)),
        () if is_svg => Ok(("image/svg+xml", bytes)),
        () => Err(wrong("neither SVG nor PNG".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_a_small_picture() {
        let dir = tempfile::tempdir().expect("a directory");
        let with = |bytes: &[u8]| {
            std::fs::write(dir.path().join("logo"), bytes).expect("written");
            Theme::new(ThemeFile { logo: Some("logo".into()), ..ThemeFile::default() }, dir.path())
        };
        assert!(with(PNG).expect("valid").brand().has_logo);
        assert!(with(b"<?xml version=\"1.0\"?><svg/>").expect("valid").asset("logo").is_some());
        for wrong in [&b"<html>"[..], b"", &[0; LOGO_MAX_BYTES + 1]] {
            assert!(with(wrong).is_err());
        }
    }

    #[test]
    fn a_theme_without_colours_has_no_stylesheet() {
        let theme = Theme::new(ThemeFile { name: Some("Acme AI".to_owned()), ..ThemeFile::default() }, Path::new("."));
        let theme = theme.expect("valid");
        assert!(!theme.brand().has_style && theme.asset("theme.css").is_none() && theme.asset("logo").is_none());
    }
}
