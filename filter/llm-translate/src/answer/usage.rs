//! What was used, in both dialects' terms.
use weir_llm_usage::json::tree::{Id, Tree};

use crate::table::member;
use crate::write::Writer;

/// Tokens, as Anthropic counts them: the input without what caches gave or took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    uncached: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    /// Part of the output.
    thoughts: Option<u64>,
}

fn count(tree: &Tree<'_>, object: Option<Id>, name: &str) -> Option<u64> {
    let value = object.and_then(|object| member(tree, object, name))?;
    std::str::from_utf8(tree.raw(value)).ok()?.parse().ok()
}

impl Usage {
    /// Takes over the counts that Anthropic tells; a stream tells some of them first and others at its end.
    pub(super) fn update(&mut self, tree: &Tree<'_>, usage: Option<Id>) {
        let take = |name, count_so_far: &mut u64| {
            if let Some(count) = count(tree, usage, name) {
                *count_so_far = count;
            }
        };
        take("input_tokens", &mut self.uncached);
        take("cache_read_input_tokens", &mut self.cache_read);
        take("cache_creation_input_tokens", &mut self.cache_write);
        take("output_tokens", &mut self.output);
        let details = usage.and_then(|usage| member(tree, usage, "output_tokens_details"));
        self.thoughts = count(tree, details, "thinking_tokens").or(self.thoughts);
    }

    /// What OpenAI and the servers like it tell, who count all input as one.
    pub(super) fn of_openai(tree: &Tree<'_>, usage: Id) -> Self {
        let of = |name| count(tree, Some(usage), name);
        let input_details = member(tree, usage, "prompt_tokens_details");
        let (input, output) = (of("prompt_tokens").unwrap_or(0), of("completion_tokens").unwrap_or(0));
        let cache_read = count(tree, input_details, "cached_tokens").or(of("prompt_cache_hit_tokens")).unwrap_or(0);
        let cache_write = count(tree, input_details, "cache_write_tokens").unwrap_or(0);
        // Some leave thoughts out of the completion, and only their total has them.
        let output = of("total_tokens").map_or(output, |total| total.saturating_sub(input).max(output));
        Usage {
            uncached: input.saturating_sub(cache_read).saturating_sub(cache_write),
            cache_read,
            cache_write,
            output,
            thoughts: count(tree, member(tree, usage, "completion_tokens_details"), "reasoning_tokens"),
        }
    }

    /// The members of Anthropic's `usage`.
    pub(super) fn write_anthropic(&self, writer: &mut Writer) {
        writer.name("usage").open("{").count("input_tokens", self.uncached);
        writer.count("cache_creation_input_tokens", self.cache_write).count("cache_read_input_tokens", self.cache_read);
        writer.count("output_tokens", self.output);
        if let Some(thoughts) = self.thoughts {
            writer.name("output_tokens_details").open("{").count("thinking_tokens", thoughts).close("}");
        }
        writer.close("}");
    }

    /// The members of OpenAI's `usage`.
    pub(super) fn write_openai(&self, writer: &mut Writer) {
        let input = self.uncached.saturating_add(self.cache_read).saturating_add(self.cache_write);
        writer.name("usage").open("{").count("prompt_tokens", input).count("completion_tokens", self.output);
        writer.count("total_tokens", input.saturating_add(self.output)).name("prompt_tokens_details").open("{");
        writer.count("cached_tokens", self.cache_read).count("cache_write_tokens", self.cache_write).close("}");
        if let Some(thoughts) = self.thoughts {
            writer.name("completion_tokens_details").open("{").count("reasoning_tokens", thoughts).close("}");
        }
        writer.close("}");
    }
}
