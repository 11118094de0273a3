//! The stylesheet and the script, built into the program: nothing is fetched from elsewhere.

/// A file that pages refer to.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its media type.
    pub media_type: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The file of this name, below `/ui/assets/`.
pub fn asset(name: &str) -> Option<Asset> {
    match name {
        "weir.css" => Some(Asset { media_type: "text/css; charset=utf-8", text: include_str!("assets/weir.css") }),
        "weir.js" => Some(Asset { media_type: "text/javascript; charset=utf-8", text: include_str!("assets/weir.js") }),
        "weir.svg" => Some(Asset { media_type: "image/svg+xml", text: include_str!("assets/weir.svg") }),
        _ => None,
    }
}
