//! The dashboard's pages: values in, HTML out.
//!
//! A [`Page`] is a title and [`Block`]s: figures, tables, charts, forms. The server fills them from the same answers that the API
//! gives; this crate writes them, and is the only place that writes HTML. Three rules hold for every page because they hold for every
//! block:
//!
//! * Text is escaped, wherever it comes from. Addresses are built of parts ([`Href`]) that cannot leave `/ui`.
//! * Nothing is rounded silently: a shortened number says so and opens to the exact one.
//! * Nothing needs a script. The script shows times in the viewer's zone, sorts tables, copies keys and follows live figures and tables.
//!
//! The pages carry no inline style or script, so that the server can forbid both by its Content-Security-Policy.
mod assets;
mod block;
mod cell;
mod chart;
mod form;
mod href;
mod number;
mod page;
mod prose;
mod sheet;
mod table;
mod viewer;

pub use assets::{Asset, asset};
pub use block::{Block, Fact, Tile, fragment};
pub use cell::{Cell, Tone};
pub use chart::{Chart, Point};
pub use form::{Act, Field, Form, Kind};
pub use href::{Href, named, names};
pub use number::grouped;
pub use page::{Page, Section, SignIn, TO_FIELD, Ways, entered, error, over, sign_in, stop_page, stopped};
pub use sheet::Sheet;
pub use table::{Column, Table};
pub use viewer::{Brand, Role, Viewer};
