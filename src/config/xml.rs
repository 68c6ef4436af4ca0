//! Finding the blocks that concern this daemon in an `ossec.conf`.
//!
//! The file is not one XML document: several roots may follow one another, and in other blocks people write regular
//! expressions with bare `<` and `&`. Both are read here; a tag that does not match is not, because then nobody knows
//! where the block ends.

use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event, attributes::Attribute},
};

use super::Secret;

const ROOT: &str = "ossec_config";
const CLUSTER: &str = "cluster";
const AUTH: &str = "auth";
const GLOBAL: &str = "global";
/// Bounds what a hostile or broken file costs, and the recursion over what was read.
const DEEPEST: usize = 128;
/// Likewise, for elements that are kept.
const MOST: usize = 20_000;

/// An element inside a block, and the block itself.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    /// Where its opening tag stands, counted from 1.
    pub(super) line: usize,
    /// Names and values, in the order of the tag.
    pub(super) attributes: Vec<(String, Secret)>,
    /// The element's own text without that of its children: one of them is the key.
    pub(super) text: Secret,
    pub(super) children: Vec<Self>,
}

/// What was found in the file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The last `<cluster>` of all roots: it wins as a whole (`spec/protocol.md` 15.1). The names in it are in small
    /// letters, however they are written.
    pub(super) cluster: Option<Element>,
    /// Lines of those before it, which nobody reads.
    pub(super) earlier: Vec<usize>,
    /// The last `<auth>`, likewise.
    pub(super) auth: Option<Element>,
    /// All `<global>` blocks: of an option that is in several of them, the last counts.
    pub(super) global: Vec<Element>,
    /// Lines of `<cluster>` blocks that stand outside `<ossec_config>`, where nobody reads them.
    pub(super) astray: Vec<usize>,
    /// The first root, `<cluster>` or name in it that is not in small letters, and its line.
    pub(super) capital: Option<(String, usize)>,
}

/// Why the file can not be read as XML.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) problem: String,
    pub(super) remedy: String,
}

/// Finds the blocks that count.
///
/// # Errors
/// The first place at which tags do not match or markup does not end.
pub(super) fn find_blocks(text: &str) -> Result<Found, Malformed> {
    let Search { blocks, astray, capital, .. } =
        search(text, |name| is_cluster(name) || name == AUTH || name == GLOBAL)?;
    let mut found = Found { astray, capital, ..Found::default() };
    for block in blocks {
        match &*block.name {
            AUTH => found.auth = Some(block),
            GLOBAL => found.global.push(block),
            _ => found.earlier.extend(found.cluster.replace(block).map(|earlier| earlier.line)),
        }
    }
    Ok(found)
}

/// The blocks of all other daemons and of this one, but for `<cluster>`, in the order of the file.
///
/// # Errors
/// As [`find_blocks`].
pub(super) fn other_blocks(text: &str) -> Result<Vec<Element>, Malformed> {
    search(text, |name| !is_cluster(name)).map(|search| search.blocks)
}

/// The stock framework, which reads `<cluster>` for its daemon, ignores case; the daemons in C do not.
fn is_cluster(name: &str) -> bool {
    name.eq_ignore_ascii_case(CLUSTER)
}

/// One pass over the file.
fn search(text: &str, wanted: fn(&str) -> bool) -> Result<Search, Malformed> {
    let text = escape_bare(text);
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    // The search compares the names itself: it knows the line of the opening tag.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;

    let mut search = Search::new(wanted);
    let (mut line, mut counted) = (1, 0);
    loop {
        let start = reader.buffer_position() as usize;
        line += newlines(&text, counted, start);
        counted = start;
        match reader.read_event() {
            Ok(Event::Start(tag)) => search.open(&tag, line)?,
            Ok(Event::End(tag)) => search.close(tag.name().into_inner(), line)?,
            Ok(Event::Empty(tag)) => {
                search.open(&tag, line)?;
                search.close(tag.name().into_inner(), line)?;
            }
            Ok(Event::Text(text)) => search.text(&text),
            Ok(Event::CData(text)) => search.text(&text),
            Ok(Event::GeneralRef(reference)) => search.text(&resolve(&reference)),
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
            Ok(Event::Eof) => return search.finish(),
            Err(error) => {
                let line = 1 + newlines(&text, 0, reader.error_position() as usize);
                return Err(Malformed { line, problem: error.to_string(), remedy: "close what is opened here".into() });
            }
        }
    }
}

/// Newlines between two byte positions of `text`.
fn newlines(text: &str, from: usize, to: usize) -> usize {
    text.as_bytes().get(from..to).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// The state of one pass over the file.
struct Search {
    /// Names of the blocks that are kept, which stand directly in a root.
    wanted: fn(&str) -> bool,
    /// Names and lines of all tags that are open.
    open: Vec<(String, usize)>,
    /// The block and its elements that are open, outermost first; empty outside a block.
    building: Vec<Element>,
    /// Elements that were kept so far.
    kept: usize,
    blocks: Vec<Element>,
    /// As in [`Found`].
    astray: Vec<usize>,
    capital: Option<(String, usize)>,
}

impl Search {
    fn new(wanted: fn(&str) -> bool) -> Self {
        let (open, building, blocks, astray) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { wanted, open, building, kept: 0, blocks, astray, capital: None }
    }

    fn open(&mut self, tag: &BytesStart<'_>, line: usize) -> Result<(), Malformed> {
        let name = tag.name().into_inner();
        if self.open.len() == DEEPEST {
            let problem = format!("more than {DEEPEST} tags are open at once");
            return Err(Malformed { line, problem, remedy: "close the tags before this line".into() });
        }
        let is_root = |name: &str| name.eq_ignore_ascii_case(ROOT);
        let in_root = matches!(&self.open[..], [(root, _)] if is_root(root));
        if is_cluster(name) && !in_root && self.open.len() < 2 {
            self.astray.push(line);
        }
        let block = in_root && (self.wanted)(name);
        let of_cluster = self.building.first().map_or(block && is_cluster(name), |block| is_cluster(&block.name));
        if (of_cluster || (self.open.is_empty() && is_root(name))) && name.contains(|c: char| c.is_ascii_uppercase()) {
            self.capital.get_or_insert_with(|| (name.to_owned(), line));
        }
        if block || !self.building.is_empty() {
            self.kept += 1;
            if self.kept > MOST {
                let problem = format!("more than {MOST} options stand in the file");
                return Err(Malformed { line, problem, remedy: "remove those that are not needed".into() });
            }
            let mut attributes = tag.attributes();
            let attributes = attributes.with_checks(false).flatten();
            let pair = |one: Attribute<'_>| (one.key.into_inner().to_owned(), Secret::lossy(one.value.as_bytes()));
            self.building.push(Element {
                name: if of_cluster { name.to_ascii_lowercase() } else { name.to_owned() },
                line,
                attributes: attributes.map(pair).collect(),
                text: Secret::default(),
                children: Vec::new(),
            });
        }
        self.open.push((name.to_owned(), line));
        Ok(())
    }

    fn close(&mut self, written: &str, line: usize) -> Result<(), Malformed> {
        // Without its `>`, a closing tag runs on to the next one. What lies between is not shown.
        let name =
            written.split(|character: char| character.is_whitespace() || character == '<').next().unwrap_or(written);
        match self.open.pop() {
            Some((opened, _)) if opened == written => {}
            Some((opened, _)) if opened == name => {
                let problem = format!("</{name} has no > at its end");
                return Err(Malformed { line, problem, remedy: format!("write </{name}>") });
            }
            Some((opened, at)) => {
                let problem = format!("</{name}> stands where <{opened}> of line {at} is still open");
                return Err(Malformed { line, problem, remedy: format!("write </{opened}>, or open <{name}>") });
            }
            None => {
                let problem = format!("</{name}> closes nothing");
                return Err(Malformed { line, problem, remedy: format!("remove it, or open <{name}>") });
            }
        }
        if let Some(element) = self.building.pop() {
            match self.building.last_mut() {
                Some(parent) => parent.children.push(element),
                None => self.blocks.push(element),
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.building.last_mut() {
            element.text.push_str(text);
        }
    }

    fn finish(self) -> Result<Self, Malformed> {
        match self.open.last() {
            None => Ok(self),
            Some((name, line)) => {
                let problem = format!("<{name}> is never closed");
                Err(Malformed { line: *line, problem, remedy: format!("write </{name}> at its end") })
            }
        }
    }
}

/// The text that `&...;` stands for; an entity that is not one of XML's own stays as it is written.
fn resolve(reference: &BytesRef<'_>) -> String {
    let name: &str = reference;
    match name {
        "lt" => "<".into(),
        "gt" => ">".into(),
        "amp" => "&".into(),
        "quot" => "\"".into(),
        "apos" => "'".into(),
        _ => match reference.resolve_char_ref() {
            Ok(Some(character)) => character.into(),
            _ => format!("&{name};"),
        },
    }
}

/// Replaces each `<` that begins no markup by `&lt;`. Adds and removes no line.
fn escape_bare(text: &str) -> Secret {
    let mut escaped = Secret::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(distance) = text[at..].find('<') {
        let start = at + distance;
        at = start + 1;
        let rest = &text[start..];
        if let Some((opening, closing)) =
            [("<!--", "-->"), ("<![CDATA[", "]]>")].into_iter().find(|(o, _)| rest.starts_with(o))
        {
            // What never ends is left for the XML reader to complain about.
            at = rest[opening.len()..].find(closing).map_or(text.len(), |length| start + opening.len() + length);
        } else if !begins_markup(rest) || (text[..start].ends_with('\\') && !rest.starts_with("</")) {
            escaped.push_str(&text[copied..start]);
            escaped.push_str("&lt;");
            copied = at;
        }
    }
    escaped.push_str(&text[copied..]);
    escaped
}

/// Whether `rest`, which begins with `<`, begins with a tag or a declaration. A closing tag needs no `>` to be taken
/// for one: a forgotten `>` is then reported where it is missing.
fn begins_markup(rest: &str) -> bool {
    let name = |text: &str| text.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let after = &rest[1..];
    match after.strip_prefix('/') {
        Some(closing) => name(closing),
        None if name(after) => after.find(['<', '>']).is_some_and(|end| after[end..].starts_with('>')),
        None => after.starts_with("?xml") || after.starts_with("!DOCTYPE"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The block's children as `name=text@line`.
    fn read(text: &str) -> Option<Vec<String>> {
        let block = find_blocks(text).expect("well-formed").cluster?;
        Some(block.children.iter().map(|e| format!("{}={}@{}", e.name, e.text.trim(), e.line)).collect())
    }

    #[test]
    fn the_last_block_of_all_roots_wins() {
        let text = "<ossec_config>\n<cluster><name>a</name></cluster>\n\
                    <cluster><name>b</name></cluster></ossec_config>\n\
                    <other><cluster><name>x</name></cluster></other>\n\
                    <ossec_config><a><cluster/></a><cluster>\n<name>c</name></cluster></ossec_config>";
        assert_eq!(read(text), Some(vec!["name=c@6".to_owned()]));
        assert_eq!(read("<ossec_config><global/></ossec_config>"), None);
        assert_eq!(
            read("\u{feff}<ossec_config>\r\n<cluster><name>n</name ></cluster></ossec_config>\r\n"),
            Some(vec!["name=n@2".to_owned()])
        );
        assert_eq!(read(""), None);
        assert_eq!(find_blocks("\n<cluster></cluster>").expect("well-formed").astray, [2]);
        let found = find_blocks(text).expect("well-formed");
        assert_eq!((found.earlier, found.astray, found.capital), (vec![2, 3], vec![4], None));
    }

    #[test]
    fn the_case_of_roots_and_of_all_that_is_in_a_cluster_does_not_count() {
        let text = "<Ossec_Config><Auth/><auth/><LocalFile/></Ossec_Config>\n\
                    <OSSEC_CONFIG><CLUSTER><Name>N</Name><name>n</name></CLUSTER></OSSEC_CONFIG>";
        assert_eq!(read(text), Some(vec!["name=N@2".to_owned(), "name=n@2".to_owned()]));
        assert_eq!(find_blocks(text).expect("well-formed").capital, Some(("Ossec_Config".to_owned(), 1)));
        let others: Vec<_> = other_blocks(text).expect("well-formed").into_iter().map(|block| block.name).collect();
        assert_eq!(others, ["Auth", "auth", "LocalFile"]);
    }

    #[test]
    fn the_last_auth_is_found_too_with_the_attributes_of_its_options() {
        let text = "<ossec_config><auth><a/></auth><cluster><auth>no</auth></cluster>\n\
                    <auth><force><t enabled=\"no\" x='1>2'>1h</t></force></auth></ossec_config>";
        let found = find_blocks(text).expect("well-formed");
        let force = &found.auth.as_ref().expect("auth").children[0];
        let attributes: Vec<_> = force.children[0].attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!((force.line, &attributes[..]), (2, &[("enabled", "no"), ("x", "1>2")][..]));
        assert!(!format!("{found:?}").contains("1>2"), "what may be a secret does not show");
        assert_eq!(found.cluster.expect("cluster").children[0].name, "auth");
    }

    #[test]
    fn comments_cdata_and_entities_in_a_value() {
        let text = "<?xml version=\"1.0\"?><ossec_config><cluster> <!-- <name>no</name> -->\n<!-- -- -->\
                    <name><!-- a -->one<!-- b -->two</name><port><![CDATA[15<16]]></port>\
                    <key>a&amp;b&#65;&x;&lt;</key><hidden/>\
                    </cluster></ossec_config>";
        let expected = ["name=onetwo@2", "port=15<16@2", "key=a&bA&x;<@2", "hidden=@2"];
        assert_eq!(read(text), Some(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn bare_characters_outside_the_block_do_no_harm() {
        let text = "<ossec_config><localfile>\
                    <command>a && b < c <(d) 2>&1 <3 \\<w> <?x <!x a<b</command><regex>& ;&</regex></localfile>\n\
                    <cluster><name>n</name></cluster></ossec_config>";
        assert_eq!(read(text), Some(vec!["name=n@2".to_owned()]));
    }

    #[test]
    fn malformed_xml_is_reported_with_its_line() {
        let cases = [
            ("<ossec_config>\n<cluster>\n<name>a\n</cluster></ossec_config>", 4, "<name> of line 3 is still open"),
            ("<ossec_config>\n<cluster>\n", 2, "<cluster> is never closed"),
            ("<ossec_config>\n</ossec_config></a>", 2, "</a> closes nothing"),
            ("<ossec_config>\n<cluster><name>a</name\n</cluster></ossec_config>", 2, "</name has no >"),
            ("<ossec_config>\n\n<!-- ", 3, "omment"),
            ("<ossec_config>\n<a>\n<![CDATA[ ", 3, "CDATA"),
            (
                "<ossec_config>\n<cluster <name>a</name></cluster></ossec_config>",
                2,
                "</cluster> stands where <ossec_config>",
            ),
        ];
        for (text, line, problem) in cases {
            let malformed = find_blocks(text).expect_err(text);
            assert_eq!(malformed.line, line, "{text}: {malformed:?}");
            assert!(malformed.problem.contains(problem), "{text}: {malformed:?}");
        }
        assert!(find_blocks(&"<a>".repeat(1 << 20)).expect_err("deep").problem.contains("128"));
    }

    /// A file of the largest size must not hold up the start, whatever stands in it.
    #[test]
    fn the_search_takes_linear_time() {
        for part in ["&", "<", "<a", "</", "&;", "<a/>", "\\<", "<!-- -->", "a\n", "<a b='", "&amp;"] {
            let text = format!("<ossec_config><cluster>{}", part.repeat((512 << 10) / part.len()));
            let start = std::time::Instant::now();
            assert!(find_blocks(&text).is_err());
            assert!(start.elapsed().as_secs() < 10, "{part}: {:?}", start.elapsed());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(
            text in "([<>/&;!?a\né\\\\\\[\\]-]|</?cluster>|</?ossec_config>|<!--|-->|<!\\[CDATA\\[|<!DOCTYPE|<\\?xml ){0,40}",
        ) {
            let _ = find_blocks(&text);
        }
    }
}
