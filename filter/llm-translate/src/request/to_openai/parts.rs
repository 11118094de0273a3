//! Blocks as parts of a message: text, pictures, documents.
use weir_llm_usage::json::tree::{Id, Tree};

use super::{Content, content, kind_of, text_of};
use crate::request::value::{inner, quoted, text};
use crate::table::{anthropic, member};
use crate::unfit::Unfit;
use crate::write::Writer;

pub(super) fn part(tree: &Tree<'_>, block: Id, writer: &mut Writer) -> Result<(), Unfit> {
    match &*kind_of(tree, block)? {
        "text" => {
            let text = text_of(tree, block)?;
            writer.open("{").text("type", "text").member("text", text).close("}");
            Ok(())
        }
        "image" => image(tree, block, writer),
        "document" => document(tree, block, writer),
        "search_result" => Err(Unfit::no_counterpart("content[search_result]", "Chat Completions cites no sources")),
        other => Err(Unfit::unknown(format!("content[{other}]"))),
    }
}

/// A part with a text of weir's.
pub(super) fn plain_text(writer: &mut Writer, text: &str) {
    writer.open("{").text("type", "text").text("text", text).close("}");
}

/// Continues a string with the texts of a tool's result; returns the pictures among its blocks.
pub(super) fn result_text(tree: &Tree<'_>, blocks: &[Id], writer: &mut Writer) -> Result<Vec<Id>, Unfit> {
    let mut pictures = Vec::new();
    let mut is_first = true;
    for block in blocks {
        match &*kind_of(tree, *block)? {
            "text" => {
                if !std::mem::take(&mut is_first) {
                    writer.glue("\\n");
                }
                writer.glue(inner(text_of(tree, *block)?));
            }
            "image" => pictures.push(*block),
            other => {
                let why = "a result has texts and pictures only";
                return Err(Unfit::no_counterpart(format!("content[tool_result].content[{other}]"), why));
            }
        }
    }
    Ok(pictures)
}

fn source<'b>(tree: &Tree<'b>, block: Id) -> Result<(Id, std::borrow::Cow<'b, str>), Unfit> {
    let source = member(tree, block, "source").ok_or_else(|| Unfit::malformed("source", "it must be there"))?;
    anthropic::SOURCE.check(tree, source)?;
    Ok((source, kind_of(tree, source)?))
}

fn image(tree: &Tree<'_>, block: Id, writer: &mut Writer) -> Result<(), Unfit> {
    anthropic::IMAGE.check(tree, block)?;
    let (source, kind) = source(tree, block)?;
    writer.open("{").text("type", "image_url").name("image_url").open("{").name("url");
    match &*kind {
        "url" => {
            writer.raw(quoted(tree, member(tree, source, "url"), "source.url")?);
        }
        "base64" => data_url(tree, source, writer)?,
        _ => return Err(Unfit::no_counterpart("content[image].source", "only data and URLs are pictures elsewhere")),
    }
    writer.close("}").close("}");
    Ok(())
}

fn data_url(tree: &Tree<'_>, source: Id, writer: &mut Writer) -> Result<(), Unfit> {
    let media_type = quoted(tree, member(tree, source, "media_type"), "source.media_type")?;
    let data = quoted(tree, member(tree, source, "data"), "source.data")?;
    writer.raw("\"data:").glue(inner(media_type)).glue(";base64,").glue(inner(data)).glue("\"");
    Ok(())
}

fn document(tree: &Tree<'_>, block: Id, writer: &mut Writer) -> Result<(), Unfit> {
    anthropic::DOCUMENT.check(tree, block)?;
    let (source, kind) = source(tree, block)?;
    let text_of_member =
        |name: &str| member(tree, block, name).map(|value| quoted(tree, Some(value), "document")).transpose();
    let (title, context) = (text_of_member("title")?, text_of_member("context")?);
    match &*kind {
        "base64" => {
            if let Some(context) = context {
                writer.open("{").text("type", "text").member("text", context).close("}");
            }
            if text(tree, member(tree, source, "media_type"), "source.media_type")? != "application/pdf" {
                return Err(Unfit::malformed("source.media_type", "a document is a PDF or text"));
            }
            writer.open("{").text("type", "file").name("file").open("{");
            writer.member("filename", title.unwrap_or(b"\"document.pdf\"")).name("file_data");
            data_url(tree, source, writer)?;
            writer.close("}").close("}");
        }
        "text" => {
            let data = quoted(tree, member(tree, source, "data"), "source.data")?;
            document_text(writer, &[title, context, Some(data)]);
        }
        "content" => {
            let texts = match content(tree, source, "source.content")? {
                Content::Text(text) => vec![Some(tree.raw(text))],
                Content::Blocks(blocks) => {
                    let texts = blocks.iter().map(|block| text_block(tree, *block).map(Some));
                    texts.collect::<Result<Vec<_>, _>>()?
                }
            };
            document_text(writer, &[&[title, context][..], &texts].concat());
        }
        _ => {
            return Err(Unfit::no_counterpart(
                "content[document].source",
                "only data and text are documents elsewhere",
            ));
        }
    }
    Ok(())
}

fn text_block<'b>(tree: &Tree<'b>, block: Id) -> Result<&'b [u8], Unfit> {
    if kind_of(tree, block)? != "text" {
        return Err(Unfit::no_counterpart("source.content", "blocks other than text are no text"));
    }
    text_of(tree, block)
}

/// A part of several texts, each on lines of its own.
fn document_text(writer: &mut Writer, texts: &[Option<&[u8]>]) {
    writer.open("{").text("type", "text").name("text").raw("\"");
    for (at, text) in texts.iter().flatten().enumerate() {
        if at > 0 {
            writer.glue("\\n");
        }
        writer.glue(inner(text));
    }
    writer.glue("\"").close("}");
}
