//! Chance, and the counts that it gives.

use crate::json::Json;

/// A source of chance that a seed decides.
#[derive(Debug)]
pub(super) struct Dice(fastrand::Rng);

/// Counts as their parts: input is the first three together, output the last two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) fresh: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) visible: u64,
    pub(super) reasoning: u64,
}

const WORDS: [&str; 12] =
    ["river", "of", "the", "naïve", "\"quoted\"", "日本", "token", "a\\b", "usage", "{", "tokens: 7,", "\n\n"];

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(fastrand::Rng::with_seed(seed))
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound)
    }

    /// True in one of `of` cases.
    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(..choices.len())]
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }

    /// A count of at least 1: mostly small, sometimes beyond what a float holds.
    pub(super) fn count(&mut self) -> u64 {
        1 + match self.below(40) {
            0 => self.below(1 << 40),
            1 => (1 << 53) + self.below(1000),
            2..=10 => self.below(200_000),
            11..=25 => self.below(3_000),
            _ => self.below(60),
        }
    }

    /// A count of a part that is often absent.
    pub(super) fn part(&mut self) -> u64 {
        if self.one_in(3) { self.count() } else { 0 }
    }

    /// A few words, which may look like what they are not.
    pub(super) fn words(&mut self) -> String {
        let count = 1 + self.below(6);
        let words: Vec<_> = (0..count).map(|_| self.pick(&WORDS)).collect();
        words.join(" ")
    }

    /// Pieces of an answer: at least one, none of them empty.
    pub(super) fn pieces(&mut self) -> Vec<String> {
        (0..=self.below(6)).map(|_| self.words()).collect()
    }

    pub(super) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}{:016x}", self.0.u64(..))
    }

    /// Bytes of a file, in base64.
    pub(super) fn base64(&mut self) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let length = 400 + self.below(2_000);
        (0..length).map(|_| char::from(self.pick(alphabet))).collect()
    }

    /// A list of messages: text, and now and then a picture.
    pub(super) fn messages(&mut self) -> Vec<Json> {
        use super::build::obj;
        let mut messages = vec![obj! { "role": "user", "content": self.words() }];
        if self.one_in(6) {
            let url = format!("data:image/png;base64,{}", self.base64());
            let image = obj! { "type": "image_url", "image_url": obj! { "url": url } };
            messages.push(obj! { "role": "user", "content": vec![image] });
        }
        messages
    }
}

impl Numbers {
    /// Counts whose parts cannot be mistaken for each other.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        loop {
            let numbers = Numbers {
                fresh: dice.count(),
                cache_read: dice.part(),
                cache_write: dice.part(),
                visible: dice.count(),
                reasoning: dice.part(),
            };
            let Numbers { cache_read, cache_write, reasoning, .. } = numbers;
            if reasoning == 0 || ![cache_read, cache_write, cache_read + cache_write].contains(&reasoning) {
                return numbers;
            }
        }
    }

    pub(super) fn without_cache_write(self) -> Self {
        Numbers { cache_write: 0, ..self }
    }

    pub(super) fn without_caches(self) -> Self {
        Numbers { cache_read: 0, cache_write: 0, ..self }
    }

    pub(super) fn without_reasoning(self) -> Self {
        Numbers { reasoning: 0, ..self }
    }

    pub(super) fn input(&self) -> u64 {
        self.fresh + self.cache_read + self.cache_write
    }

    pub(super) fn output(&self) -> u64 {
        self.visible + self.reasoning
    }

    pub(super) fn total(&self) -> u64 {
        self.input() + self.output()
    }
}
