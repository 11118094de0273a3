//! What a worker has learnt from answers, and what it has said of them.
use weir_contract::TenantId;

use crate::policy::Route;

/// The most upstreams remembered for refusing `stream_options`. Further ones are asked, and refuse, every time.
pub(crate) const REFUSERS_MAX: usize = 64;

/// The most routes that are warned about. More are only counted.
pub(crate) const TOLD_MAX: usize = 64;

/// The most tenants without their plan that are warned about. The metric counts all of them.
pub(crate) const UNPLANNED_MAX: usize = 64;

/// The most of a path or a plan's name that a warning quotes, in bytes.
const QUOTED_MAX_BYTES: usize = 100;

/// Routes and models whose upstream has refused a request because it was asked for its usage. A worker learns it once.
#[derive(Debug, Default)]
pub struct Refusers(Vec<(Box<str>, Box<str>)>);

impl Refusers {
    /// Whether this upstream refuses.
    pub fn know(&self, route: Option<&Route>, model: Option<&str>) -> bool {
        // Nearly always there are none.
        !self.0.is_empty() && self.find(name(route), model.unwrap_or_default())
    }

    /// It has refused.
    pub fn learn(&mut self, route: Option<&Route>, model: Option<&str>) {
        let (route, model) = (name(route), model.unwrap_or_default());
        if self.0.len() < REFUSERS_MAX && !self.find(route, model) {
            self.0.push((route.into(), model.into()));
        }
    }

    fn find(&self, route: &str, model: &str) -> bool {
        self.0.iter().any(|(of, named)| **of == *route && **named == *model)
    }
}

/// Warnings that were logged: each once.
#[derive(Debug, Default)]
pub struct Told(Vec<Box<str>>);

impl Told {
    /// What to log of a provider's answer where no usage is read; None where it was logged before.
    pub fn undeclared(&mut self, route: Option<&str>, path: &[u8]) -> Option<String> {
        let key = route.unwrap_or_default();
        if self.0.len() >= TOLD_MAX || self.0.iter().any(|told| **told == *key) {
            return None;
        }
        self.0.push(key.into());
        let place = match route {
            Some(name) => format!("route {name:?}"),
            None => format!("no route (POST {})", shown(path)),
        };
        Some(format!(
            "weir: a model provider seems to answer on {place}, and its usage is not read: give the route `usage: read` or a \
             class such as `class: chat`, or `usage: ignore` if that is right"
        ))
    }
}

/// Tenants whose plan the configuration does not have. Each is told when it is refused first, and again only after it was
/// served, or named another plan.
#[derive(Debug, Default)]
pub struct Unplanned {
    known: Vec<(TenantId, Box<str>)>,
    warnings: Vec<String>,
}

impl Unplanned {
    /// A request of `tenant` was refused for want of `plan`.
    pub fn refused(&mut self, tenant: &TenantId, plan: &str) {
        let room = self.known.len() < UNPLANNED_MAX;
        match self.known.iter_mut().find(|(known, _)| known == tenant) {
            Some((_, told)) if **told == *plan => return,
            Some((_, told)) => *told = plan.into(),
            None if room => self.known.push((tenant.clone(), plan.into())),
            None => return,
        }
        if self.warnings.len() < UNPLANNED_MAX {
            self.warnings.push(format!(
                "weir: tenant {tenant} is on plan \"{}\", which this gateway's configuration does not have: its requests are \
                 refused with unknown_plan. Add the plan to `plans`, or give the tenant another one",
                shown(plan.as_bytes())
            ));
        }
    }

    /// A request of `tenant` found its plan.
    pub fn served(&mut self, tenant: &TenantId) {
        // Nearly always there are none.
        if !self.known.is_empty() {
            self.known.retain(|(known, _)| known != tenant);
        }
    }

    /// What there is to log.
    pub fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

fn name(route: Option<&Route>) -> &str {
    route.and_then(|route| route.name.as_deref()).unwrap_or_default()
}

/// A path as a log may show it: what can be seen of ASCII, and not too much of it.
fn shown(path: &[u8]) -> String {
    let path = path.get(..QUOTED_MAX_BYTES).unwrap_or(path);
    path.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn an_upstream_is_known_by_route_and_model() {
        let mut refusers = Refusers::default();
        let mut route = Route::default();
        route.name = Some("azure".into());
        refusers.learn(Some(&route), Some("mistral"));
        assert!(refusers.know(Some(&route), Some("mistral")));
        assert!(!refusers.know(None, Some("mistral")) && !refusers.know(Some(&route), Some("gpt-4o")));
        (0..2 * REFUSERS_MAX).for_each(|model| refusers.learn(None, Some(&model.to_string())));
        assert_eq!(refusers.0.len(), REFUSERS_MAX);
    }

    #[test]
    fn a_tenant_without_its_plan_is_told_once_for_each_change() {
        let (mut unplanned, acme) = (Unplanned::default(), TenantId::new("acme").expect("an id"));
        unplanned.refused(&acme, "gold");
        unplanned.refused(&acme, "gold");
        let told = unplanned.warnings();
        assert!(told.len() == 1 && told[0].contains("tenant acme is on plan \"gold\""), "{told:?}");
        unplanned.refused(&acme, "g\nld");
        assert!(unplanned.warnings().iter().all(|told| told.contains("\"g?ld\"")), "no plan writes into the log");
        unplanned.served(&acme);
        unplanned.refused(&acme, "g\nld");
        assert_eq!(unplanned.warnings().len(), 1, "it was served in between");
        for n in 0..2 * UNPLANNED_MAX {
            unplanned.refused(&TenantId::new(&format!("t{n}")).expect("an id"), "gold");
        }
        assert_eq!((unplanned.known.len(), unplanned.warnings().len()), (UNPLANNED_MAX, UNPLANNED_MAX - 1));
    }

    #[test]
    fn each_route_is_warned_about_once_and_no_path_writes_into_the_log() {
        let mut told = Told::default();
        let warning = told.undeclared(None, b"/ask\n\x1b[31m").expect("a warning");
        assert!(warning.contains("POST /ask??[31m") && warning.contains("usage: read"), "{warning}");
        assert_eq!(told.undeclared(None, b"/other"), None);
        assert!(told.undeclared(Some("ask"), b"/ask").is_some_and(|warning| warning.contains("route \"ask\"")));
        (0..2 * TOLD_MAX).for_each(|route| drop(told.undeclared(Some(&route.to_string()), b"/")));
        assert_eq!(told.0.len(), TOLD_MAX);
    }
}
