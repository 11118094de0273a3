//! Text from outside never becomes markup, wherever on a page it stands.
use weir_contract::Timestamp;
use weir_dashboard::{
    Act, Block, Brand, Cell, Chart, Field, Form, Href, Kind, Page, Point, Role, Section, Table, Tile, Tone, Viewer,
    error,
};

const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;";

fn cells() -> Vec<Cell> {
    let form = Form::act(HOSTILE, Href::to(&[HOSTILE]), vec![Field::hidden("a", HOSTILE)], HOSTILE);
    vec![
        Cell::text(HOSTILE),
        Cell::Code(HOSTILE.to_owned()),
        Cell::Json(HOSTILE.to_owned()),
        Cell::amount(HOSTILE, HOSTILE),
        Cell::status(HOSTILE, Tone::Bad),
        Cell::link(HOSTILE, Href::to(&["tenants", HOSTILE]).with(HOSTILE, HOSTILE)),
        Cell::Live { name: "accepted", text: HOSTILE.to_owned() },
        Cell::link_of(HOSTILE, Href::to(&[HOSTILE]), HOSTILE),
        Cell::Acts(vec![Act::new(HOSTILE, HOSTILE, form.filled(|_| Some(HOSTILE.to_owned())))]),
    ]
}

fn blocks() -> Vec<Block> {
    let fields = vec![
        Field::required("a", HOSTILE, Kind::Text(HOSTILE.to_owned())).hint(HOSTILE),
        Field::optional("b", HOSTILE, Kind::Choice(vec![(HOSTILE.to_owned(), HOSTILE.to_owned())])),
    ];
    let point = Point { label: HOSTILE.to_owned(), value: 1, exact: Cell::text(HOSTILE) };
    let chart = |points| Chart {
        caption: HOSTILE.to_owned(),
        of: HOSTILE.to_owned(),
        unit: HOSTILE.to_owned(),
        points,
        empty: HOSTILE.to_owned(),
        csv: Some(Href::to(&[HOSTILE])),
    };
    let columns = [HOSTILE; 9];
    let tile = Tile::new(HOSTILE, HOSTILE).note(HOSTILE).link(Href::to(&[HOSTILE]));
    vec![
        Block::Tiles(vec![tile]),
        Block::Table(Table::new(HOSTILE, &columns, HOSTILE).rows([cells()])),
        Block::Table(Table::new(HOSTILE, &columns, HOSTILE)),
        Block::Chart(chart(vec![point])),
        Block::Chart(chart(Vec::new())),
        Block::Form(Form::ask(Href::to(&[HOSTILE]), fields, HOSTILE)),
        Block::Facts(HOSTILE.to_owned(), vec![("a", Cell::text(HOSTILE))]),
        Block::Notice(Tone::Bad, HOSTILE.to_owned()),
        Block::Heading(HOSTILE.to_owned()),
        Block::Paragraph(HOSTILE.to_owned()),
        Block::Tabs(HOSTILE.to_owned(), vec![(HOSTILE.to_owned(), Href::to(&[HOSTILE]), true)]),
        Block::Secret { label: HOSTILE.to_owned(), value: HOSTILE.to_owned() },
        Block::Text(HOSTILE.to_owned(), HOSTILE.to_owned()),
        Block::Picture(Href::to(&[HOSTILE]).with("of", HOSTILE), HOSTILE.to_owned()),
    ]
}

fn check(page: &str) {
    let own =
        ["<script src=\"/ui/assets/weir.js\" defer>", "<img class=\"logo\" src=\"/ui/assets/logo\"", "<img src=\"/ui/"];
    let page = own.into_iter().fold(page.to_owned(), |page, own| page.replace(own, ""));
    for forbidden in ["<script", "<img", "'><", "\"'>", " style=", " onclick="] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    assert!(page.contains("&lt;script&gt;"), "the text is there: {page}");
}

#[test]
fn no_block_lets_text_become_markup() {
    let brand = Brand { name: Some(HOSTILE.to_owned()), has_logo: true, has_style: true };
    let viewer = Viewer {
        name: HOSTILE.to_owned(),
        role: Role::Admin,
        csrf: HOSTILE.to_owned(),
        once: HOSTILE.to_owned(),
        brand,
    };
    for block in blocks() {
        let page = Page {
            title: HOSTILE.to_owned(),
            section: Section::Overview,
            at: Timestamp::from_millis(0),
            blocks: vec![block],
        };
        check(&page.render(&viewer));
    }
    check(&error(HOSTILE, HOSTILE));
}

#[test]
fn every_address_on_a_page_is_one_of_the_dashboard() {
    let viewer = Viewer { role: Role::Admin, ..Viewer::default() };
    let (section, at) = (Section::Overview, Timestamp::from_millis(0));
    let page = Page { title: String::new(), section, at, blocks: blocks() }.render(&viewer);
    for attribute in [" href=\"", " action=\"", " src=\""] {
        for rest in page.split(attribute).skip(1) {
            let address = rest.split('"').next().unwrap_or_default();
            assert!(address.starts_with("/ui") || address == "#content", "{attribute}{address}");
            assert!(!address.contains(['<', '>', '\'', ' ']), "{address}");
        }
    }
}

#[test]
fn forms_that_change_something_carry_the_sessions_token_and_questions_do_not() {
    let viewer = Viewer { csrf: "the-token".to_owned(), ..Viewer::default() };
    let (section, at) = (Section::Own, Timestamp::from_millis(0));
    let of = |form| {
        let page = Page { title: String::new(), section, at, blocks: vec![Block::Form(form)] };
        page.render(&viewer).matches("value=\"the-token\"").count()
    };
    assert_eq!(of(Form::act("", Href::to(&["a"]), Vec::new(), "Do")), 2, "the form, and signing out");
    assert_eq!(of(Form::ask(Href::to(&["a"]), Vec::new(), "Ask")), 1, "an address must not have it");
}

#[test]
fn a_tenant_sees_no_navigation_and_only_administrators_see_tokens() {
    let of = |role| {
        let viewer = Viewer { role, ..Viewer::default() };
        Page { title: String::new(), section: Section::Own, at: Timestamp::from_millis(0), blocks: Vec::new() }
            .render(&viewer)
    };
    assert!(!of(Role::Tenant).contains("/ui/tenants"));
    assert!(of(Role::Operator).contains("/ui/tenants") && !of(Role::Operator).contains("/ui/tokens"));
    assert!(of(Role::Admin).contains("/ui/tokens"));
}
