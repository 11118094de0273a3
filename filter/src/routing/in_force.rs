//! The catalogue in force: that of the configuration, until the directory brings another.
use std::cell::RefCell;
use std::rc::Rc;

use weir_config::shape::Config;
use weir_config::{ConfigError, routing};
use weir_contract::catalogue::ModelFigures;

use super::{Catalogue, deliver};

/// The catalogue in force. A request keeps the one that it was chosen from.
#[derive(Debug)]
pub struct InForce {
    current: RefCell<Rc<Catalogue>>,
    /// That of the configuration.
    inline: Rc<Catalogue>,
    /// What the gateway can reach, where the directory brings models and rules.
    reach: Option<deliver::Reach>,
    /// What Kong cannot keep of it.
    fault_on_kong: Option<ConfigError>,
    /// The last figures of all models, for the next catalogue.
    figures: RefCell<Rc<[ModelFigures]>>,
}

impl InForce {
    /// Compiles what a configuration says; None where it routes nothing.
    pub(crate) fn compile(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(catalogue) = Catalogue::compile(config)?.map(Rc::new) else { return Ok(None) };
        let follows = config.routing.as_ref().filter(|routing| routing.from == routing::Source::Directory);
        let reach = follows
            .map(|routing| deliver::Reach { providers: config.providers.clone(), attempts_max: routing.attempts_max });
        Ok(Some(InForce {
            current: RefCell::new(Rc::clone(&catalogue)),
            inline: catalogue,
            reach,
            fault_on_kong: super::fault_on_kong(config),
            figures: RefCell::new(Rc::new([])),
        }))
    }

    /// The catalogue in force.
    pub fn current(&self) -> Rc<Catalogue> {
        self.current.try_borrow().map_or_else(|_| Rc::clone(&self.inline), |current| Rc::clone(&current))
    }

    /// The names of all chains that a choice can make now or later, for the gateway's routes. None: more than [`super::CHAINS_MAX`].
    pub fn chains(&self) -> Option<Vec<String>> {
        if self.follows_directory() { self.inline.chains_of_all() } else { self.inline.chains() }
    }

    /// What Kong cannot keep of it.
    pub(crate) fn fault_on_kong(&self) -> Option<&ConfigError> {
        self.fault_on_kong.as_ref()
    }

    /// Whether the directory brings models and rules.
    pub(crate) fn follows_directory(&self) -> bool {
        self.reach.is_some()
    }

    /// Puts a catalogue of the directory in force, as JSON; `null` stands for none, so that the configuration's is.
    ///
    /// # Errors
    /// If it cannot be used here: the one before stays in force.
    pub(crate) fn take(&self, version: &str, content: &[u8]) -> Result<(), String> {
        let Some(reach) = &self.reach else { return Err("this configuration has a catalogue of its own".to_owned()) };
        let delivered: Option<routing::Delivered> =
            serde_json::from_slice(content).map_err(|error| format!("no catalogue: {error}"))?;
        let next = match delivered {
            Some(delivered) => {
                let mut catalogue = reach.compile(&delivered).map_err(|error| error.to_string())?;
                catalogue.delivered = Some(version.into());
                Rc::new(catalogue)
            }
            None => Rc::clone(&self.inline),
        };
        if let Ok(figures) = self.figures.try_borrow() {
            next.measure(&figures);
        }
        // Nothing holds the borrow beyond `current`, which clones.
        let mut current = self.current.try_borrow_mut().map_err(|_| "it is in use".to_owned())?;
        *current = next;
        Ok(())
    }

    /// Takes figures of all models.
    pub(crate) fn measure(&self, figures: Rc<[ModelFigures]>) {
        self.current().measure(&figures);
        self.figures.replace(figures);
    }
}

#[cfg(test)]
mod tests;
