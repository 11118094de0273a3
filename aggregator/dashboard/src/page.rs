//! Whole pages: the frame around blocks, the page that asks for a token, and pages that say what went wrong.
use maud::{DOCTYPE, Markup, html};
use weir_contract::Timestamp;

use crate::block::Block;
use crate::cell::time;
use crate::form::CSRF_FIELD;
use crate::href::Href;
use crate::viewer::{Brand, Role, Viewer};

/// A page in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// How everything stands.
    Overview,
    /// All tenants.
    Tenants,
    /// Budgets.
    Budgets,
    /// Limits.
    Limits,
    /// Revenue, cost, margin.
    Money,
    /// Reporting to Stripe.
    Billing,
    /// Alerts.
    Alerts,
    /// Providers and models.
    Models,
    /// Tokens.
    Access,
    /// Single requests.
    Requests,
    /// Gateways and sources.
    Gateways,
    /// A tenant's own page.
    Own,
}

impl Section {
    /// Those of operators, in the order of the navigation.
    const OPERATORS: [Section; 11] = [
        Section::Overview,
        Section::Tenants,
        Section::Budgets,
        Section::Limits,
        Section::Money,
        Section::Billing,
        Section::Alerts,
        Section::Models,
        Section::Access,
        Section::Requests,
        Section::Gateways,
    ];

    fn of(self) -> (&'static str, &'static str) {
        match self {
            Section::Overview => ("overview", "Overview"),
            Section::Tenants => ("tenants", "Tenants"),
            Section::Budgets => ("budgets", "Budgets"),
            Section::Limits => ("limits", "Limits"),
            Section::Money => ("money", "Money"),
            Section::Billing => ("billing", "Billing"),
            Section::Alerts => ("alerts", "Alerts"),
            Section::Models => ("models", "Models"),
            Section::Access => ("tokens", "Tokens"),
            Section::Requests => ("requests", "Requests"),
            Section::Gateways => ("gateways", "Gateways"),
            Section::Own => ("own", "Usage"),
        }
    }

    /// That of a page's address, by its first segment.
    pub fn named(segment: &str) -> Option<Self> {
        Self::OPERATORS.into_iter().chain([Section::Own]).find(|section| section.of().0 == segment)
    }

    /// Its page.
    pub fn href(self) -> Href {
        Href::to(&[self.of().0])
    }

    fn is_for(self, role: Role) -> bool {
        match self {
            Section::Access => role == Role::Admin,
            _ => role > Role::Tenant,
        }
    }
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// Where it stands in the navigation.
    pub section: Section,
    /// The moment it describes.
    pub at: Timestamp,
    /// Its parts.
    pub blocks: Vec<Block>,
}

impl Page {
    /// Whether some of its figures are still being read.
    pub fn is_unfinished(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::BeingRead(_)))
    }

    /// Writes the page.
    pub fn render(&self, viewer: &Viewer) -> String {
        let body = html! {
            header.top {
                (home(&viewer.brand))
                (navigation(self.section, viewer.role))
                form.who method="post" action="/ui/sign-out" {
                    input type="hidden" name=(CSRF_FIELD) value=(viewer.csrf);
                    span { (viewer.name) " " span.unit { "(" (viewer.role.word()) ")" } }
                    button { "Sign out" }
                }
            }
            main #content tabindex="-1" {
                h1 { (self.title) }
                @for block in &self.blocks { (block.render(viewer)) }
            }
            footer { "As of " (time(self.at)) }
        };
        frame(&self.title, &viewer.brand, &html! {}, &body)
    }
}

/// The link to the first page: the logo, or the name.
fn home(brand: &Brand) -> Markup {
    html! {
        a.brand href="/ui" {
            @if brand.has_logo { img.logo src="/ui/assets/logo" alt=(brand.name()); } @else { (brand.name()) }
        }
    }
}

fn navigation(here: Section, role: Role) -> Markup {
    let shown = Section::OPERATORS.into_iter().filter(|section| section.is_for(role));
    html! {
        @if role > Role::Tenant {
            nav aria-label="Pages" {
                ul {
                    @for section in shown {
                        li { a href=(section.href().as_str()) aria-current=[(section == here).then_some("page")] { (section.of().1) } }
                    }
                }
            }
        }
    }
}

fn frame(title: &str, brand: &Brand, more: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                (more)
                title { (title) " · " (brand.name()) }
                link rel="stylesheet" href="/ui/assets/weir.css";
                @if brand.has_style { link rel="stylesheet" href="/ui/assets/theme.css"; }
                link rel="icon" type="image/svg+xml" href="/ui/assets/weir.svg";
                script src="/ui/assets/weir.js" defer {}
            }
            body { a.skip href="#content" { "Skip to the content" } (body) }
        }
    };
    page.into_string()
}

/// The field, and the parameter of an address, with the page that a person wanted before signing in.
pub const TO_FIELD: &str = "to";

/// Why a person is asked to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// They are not signed in.
    First,
    /// Their session had ended when they sent a form, which did nothing.
    Ended,
    /// The token is not known, has expired, or opens no page.
    Refused,
    /// Too many attempts came from this address.
    TooMany,
}

/// How people may sign in.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// By OpenID Connect, beside tokens.
    pub openid: bool,
    /// Whose name the page bears.
    pub brand: Brand,
    /// The page that they wanted.
    pub to: Option<Href>,
}

/// The page that asks people to sign in.
pub fn sign_in(why: SignIn, ways: &Ways) -> String {
    let told = match why {
        SignIn::First => None,
        SignIn::Ended => Some(
            "Your session had ended before the form was sent: nothing was done. Sign in to come back to its page, and fill it in again.",
        ),
        SignIn::Refused => Some(
            "This token is not known, has expired, opens no page, or is of a tenant that is archived. Ask your administrator for one.",
        ),
        SignIn::TooMany => Some("Too many attempts from this address. Wait a minute, then try again."),
    };
    let openid = ways.to.iter().fold(Href::to(&["openid"]), |href, to| href.with(TO_FIELD, to.as_str()));
    let body = html! {
        main #content.narrow tabindex="-1" {
            h1 { "Sign in to " (ways.brand.name()) }
            @if let Some(told) = told { p.notice.bad role="alert" { (told) } }
            @if ways.openid { p { a.way href=(openid.as_str()) { "Sign in with your organization's account" } } }
            form.act method="post" action="/ui/sign-in" {
                @if let Some(to) = &ways.to { input type="hidden" name=(TO_FIELD) value=(to.as_str()); }
                label {
                    span.label { "Token" }
                    input type="password" name="token" required autocomplete="current-password" autofocus;
                    span.hint { "A token with the scope viewer, operator, admin or tenant: `weir tokens create` makes one." }
                }
                button { "Sign in" }
            }
        }
    };
    frame("Sign in", &ways.brand, &html! {}, &body)
}

/// The page that a browser sees for a moment after another site has sent it here signed in: it moves on by itself.
pub fn entered(to: Option<&Href>, brand: &Brand) -> String {
    let to = to.map_or("/ui", Href::as_str);
    let body = html! {
        main #content.narrow tabindex="-1" {
            h1 { "Signed in" }
            p { a href=(to) { "Go on" } }
        }
    };
    frame("Signed in", brand, &html! { meta http-equiv="refresh" content={ "0;url=" (to) }; }, &body)
}

/// The page in a frame whose session is over: only the site around it leads to another one.
pub fn over(brand: &Brand) -> String {
    let body = html! {
        main #content.narrow tabindex="-1" {
            h1 { "You are signed out" }
            p.notice.warn role="status" { "Load the page around this one again to go on." }
        }
    };
    frame("Signed out", brand, &html! {}, &body)
}

/// The page behind the link that ends messages to an address: it asks first.
pub fn stop_page(brand: &Brand, token: &str) -> String {
    let action = Href::to(&["alert-address", "stop"]).with("token", token);
    let body = html! {
        main #content.narrow tabindex="-1" {
            h1 { "End messages about budgets?" }
            p { "The address that got this link gets no more messages, and is removed from the account." }
            form.act method="post" action=(action.as_str()) { button { "End the messages" } }
        }
    };
    frame("End messages", brand, &html! {}, &body)
}

/// What follows.
pub fn stopped(brand: &Brand, was_there: bool) -> String {
    let (title, tone, told) = if was_there {
        ("Done", "notice good", "The address is removed: no more messages go there.")
    } else {
        (
            "Nothing was removed",
            "notice warn",
            "This link belongs to no address that gets messages. The address was removed before, or the link is not whole: if messages still come, \
             open the link of the latest one.",
        )
    };
    let body = html! { main #content.narrow tabindex="-1" { h1 { (title) } p class=(tone) role="status" { (told) } } };
    frame(title, brand, &html! {}, &body)
}

/// A page for those who are not signed in that says what went wrong, and what to do.
pub fn error(title: &str, told: &str) -> String {
    let body = html! {
        main #content.narrow tabindex="-1" {
            h1 { (title) }
            p.notice.bad role="alert" { (told) }
            p { a href="/ui" { "Back to the first page" } }
        }
    };
    frame(title, &Brand::default(), &html! {}, &body)
}
