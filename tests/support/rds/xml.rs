//! Answers as the Query protocol writes them.

use std::fmt::{Display, Write as _};

use super::state::Tags;

/// Elements in the order they were added; what is not there is left out, as AWS does.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// An element with others in it.
    pub(super) fn within(mut self, name: &str, inside: Self) -> Self {
        let _infallible = write!(self.0, "<{name}>{}</{name}>", inside.0);
        self
    }

    pub(super) fn text(mut self, name: &str, value: impl Display) -> Self {
        let _infallible = write!(self.0, "<{name}>{}</{name}>", escape(&value.to_string()));
        self
    }

    pub(super) fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// A list: `<name><member>…</member>…</name>`.
    pub(super) fn list(self, name: &str, member: &str, members: impl IntoIterator<Item = Self>) -> Self {
        let inside = members.into_iter().fold(Self::new(), |list, one| list.within(member, one));
        self.within(name, inside)
    }

    /// A list of plain texts.
    pub(super) fn texts(
        self,
        name: &str,
        member: &str,
        members: impl IntoIterator<Item = impl Display>,
    ) -> Self {
        let inside = members.into_iter().fold(Self::new(), |list, one| list.text(member, one));
        self.within(name, inside)
    }

    pub(super) fn tags(self, tags: &Tags) -> Self {
        let tags = tags.iter().map(|(key, value)| Self::new().text("Key", key).text("Value", value));
        self.list("TagList", "Tag", tags)
    }

    /// The document that answers an action.
    pub(super) fn answer(self, action: &str, namespace: &str, request: &str) -> String {
        format!(
            "<{action}Response xmlns=\"{namespace}\"><{action}Result>{}</{action}Result>\
             <ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{action}Response>",
            self.0
        )
    }
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
