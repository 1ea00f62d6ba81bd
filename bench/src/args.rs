//! `--name value` pairs.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// The options of one command; each is taken once, what is left at the end is refused.
#[derive(Debug)]
pub(crate) struct Args(Vec<(String, String)>);

impl Args {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut list = Vec::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                bail!("`{word}` is not an option")
            };
            if let Some((name, value)) = name.split_once('=') {
                list.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let value = words
                .next_if(|next| !next.starts_with("--"))
                .cloned()
                .unwrap_or_default();
            list.push((name.to_owned(), value));
        }
        Ok(Self(list))
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn switch(&mut self, name: &str) -> bool {
        self.text(name).is_some()
    }

    pub(crate) fn value<T: FromStr>(&mut self, name: &str, default: T) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text.parse().with_context(|| format!("--{name} {text}")),
        }
    }

    pub(crate) fn list<T: FromStr + Clone>(&mut self, name: &str, default: &[T]) -> Result<Vec<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        match self.text(name) {
            None => Ok(default.to_vec()),
            Some(text) => text
                .split(',')
                .filter(|word| !word.is_empty())
                .map(|word| word.parse().with_context(|| format!("--{name} {text}")))
                .collect(),
        }
    }

    pub(crate) fn nothing_left(&self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => bail!("unknown option --{name}"),
        }
    }
}
