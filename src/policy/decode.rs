//! Decodes TOML into the tables of [`super::schema`], without stopping at the first fault.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::{DeTable, DeValue};

use super::fault::{PolicyFault, TextPosition};
use crate::text::suggest;

/// Settings renamed before the first release: old name, new name.
const RENAMED: [(&str, &str); 3] = [("through", "method"), ("may_lag", "optional"), ("log_wait", "wal_wait")];

/// The location of a setting: its dotted key, and its byte offset in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyLocation {
    pub(super) key: String,
    pub(super) offset: usize,
}

impl KeyLocation {
    /// Returns the key of a setting below this one, with the same offset.
    pub(super) fn below(&self, name: &str) -> Self {
        let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let name = if !name.is_empty() && name.bytes().all(bare) { name.into() } else { format!("{name:?}") };
        let key = if self.key.is_empty() { name } else { format!("{}.{name}", self.key) };
        Self { key, offset: self.offset }
    }
}

/// A value and its location.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) spot: KeyLocation,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The faults found so far.
pub(super) struct Diagnostics<'t> {
    text: &'t str,
    faults: Vec<PolicyFault>,
}

impl<'t> Diagnostics<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: vec![] }
    }

    pub(super) fn fault(&mut self, spot: &KeyLocation, message: impl Into<String>, hint: impl Into<String>) {
        let hint = hint.into();
        self.faults.push(PolicyFault {
            at: Some(TextPosition::from_offset(self.text, spot.offset)),
            key: spot.key.clone(),
            message: message.into(),
            hint: (!hint.is_empty()).then_some(hint),
        });
    }

    /// Returns whether a fault was found at a setting or below it.
    pub(super) fn has_faults_at(&self, spot: &KeyLocation) -> bool {
        let below = |key: &str| {
            key.strip_prefix(&spot.key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.faults.iter().any(|fault| below(&fault.key))
    }

    pub(super) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns the faults in the order of the file.
    pub(super) fn into_faults(mut self) -> Vec<PolicyFault> {
        self.faults.sort_by_key(|fault| fault.at);
        self.faults
    }

    /// Reports every key of `table` that is not `known`.
    pub(super) fn unknown_keys(&mut self, at: &KeyLocation, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let spot = KeyLocation { offset: key.span().start, ..at.below(name) };
                let renamed = RENAMED.iter().find(|(old, new)| *old == name && known.contains(new));
                let hint = match renamed {
                    Some((_, new)) => format!("it is called `{new}` now"),
                    None => suggest("settings here", name, known),
                };
                self.fault(&spot, "is not a setting drctl knows", hint);
            }
        }
    }

    /// Reports a required setting that is missing.
    pub(super) fn missing(&mut self, table: &KeyLocation, name: &str, example: &str) {
        let spot = table.below(name);
        let hint = match example {
            "" => format!("add the table `[{}]`", spot.key),
            example if table.key.is_empty() => format!("add `{name} = {example}`"),
            example => format!("add `{name} = {example}` to `{}`", table.key),
        };
        self.fault(&spot, "is missing", hint);
    }
}

/// A TOML value and its location.
pub(super) struct Node<'n> {
    pub(super) value: &'n DeValue<'n>,
    pub(super) spot: KeyLocation,
}

impl<'n> Node<'n> {
    /// Returns the setting `name` of a table.
    pub(super) fn child(table: &'n DeTable<'n>, at: &KeyLocation, name: &str) -> Option<Self> {
        let value = table.get(name)?;
        Some(Self {
            value: value.get_ref(),
            spot: KeyLocation { offset: value.span().start, ..at.below(name) },
        })
    }

    pub(super) fn text(&self, example: &str, log: &mut Diagnostics<'_>) -> Option<&'n str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type("a string", &format!("write it like {example}"), log);
        }
        text
    }

    pub(super) fn table(&self, log: &mut Diagnostics<'_>) -> Option<&'n DeTable<'n>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong_type(
                "a table",
                &format!("write it as `[{}]`, with its settings below", self.spot.key),
                log,
            );
        }
        table
    }

    /// Reports a value of the wrong type without showing it: it may be a misplaced secret.
    pub(super) fn wrong_type(&self, wanted: &str, hint: &str, log: &mut Diagnostics<'_>) {
        let is = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        log.fault(&self.spot, format!("is {is}, but must be {wanted}"), hint);
    }
}

/// A type that a policy may contain. Decoding reports every fault and returns `None` if nothing is left to
/// check.
pub(super) trait Decode: Sized {
    /// An example in TOML for hints; empty for tables.
    const EXAMPLE: &'static str;

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self>;
}

pub(super) trait TomlTable {
    /// Lists the settings that are set, with their locations.
    fn given(&self) -> Vec<(&'static str, &KeyLocation)>;
}

/// Reads an optional setting of a table.
pub(super) fn optional<T: Decode>(
    table: &DeTable<'_>,
    at: &KeyLocation,
    name: &str,
    log: &mut Diagnostics<'_>,
) -> Option<Spanned<T>> {
    let node = Node::child(table, at, name)?;
    T::read(&node, log).map(|value| Spanned { value, spot: node.spot })
}

/// Reads a required setting.
pub(super) fn required<T: Decode>(
    table: &DeTable<'_>,
    at: &KeyLocation,
    name: &str,
    log: &mut Diagnostics<'_>,
) -> Option<Spanned<T>> {
    if !table.contains_key(name) {
        log.missing(at, name, T::EXAMPLE);
    }
    optional(table, at, name, log)
}

impl<T: Decode> Decode for Vec<Spanned<T>> {
    const EXAMPLE: &'static str = "[ … ]";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        let Some(items) = node.value.as_array() else {
            node.wrong_type("a list", "put it in `[` and `]`", log);
            return None;
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let spot = KeyLocation { key: format!("{}[{index}]", node.spot.key), offset: item.span().start };
            let node = Node { value: item.get_ref(), spot };
            all.extend(T::read(&node, log).map(|value| Spanned { value, spot: node.spot }));
        }
        Some(all)
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<Spanned<T>>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Several{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let many = generator.subschema_for::<Vec<T>>();
        json_schema!({ "anyOf": [one, many] })
    }
}

impl<T: Decode> Decode for OneOrMany<T> {
    const EXAMPLE: &'static str = T::EXAMPLE;

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        if node.value.is_array() {
            return Vec::read(node, log).map(Self);
        }
        T::read(node, log).map(|value| Self(vec![Spanned { value, spot: node.spot.clone() }]))
    }
}

// A table whose keys are names chosen in the policy, in the order of the file.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(transparent, inline)]
pub(super) struct KeyedTable<K, V>(
    #[schemars(with = "BTreeMap<String, V>")] pub(super) Vec<(Spanned<K>, Spanned<V>)>,
);

impl<K, V> Default for KeyedTable<K, V> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<K: ParseText, V: Decode> Decode for KeyedTable<K, V> {
    const EXAMPLE: &'static str = "";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        let table = node.table(log)?;
        let mut keys: Vec<_> = table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        let mut all = Vec::new();
        for key in keys {
            let name: &str = key.get_ref();
            let spot = KeyLocation { offset: key.span().start, ..node.spot.below(name) };
            let refused = |refusal: InvalidValue| log.fault(&spot, refusal.message, refusal.hint);
            let key = K::from_text(name).map_err(refused).ok();
            let value = optional(table, &node.spot, name, log);
            all.extend(key.zip(value).map(|(key, value)| (Spanned { value: key, spot }, value)));
        }
        Some(Self(all))
    }
}

/// Why a text is not a valid value.
pub(super) struct InvalidValue {
    pub(super) message: String,
    pub(super) hint: String,
}

impl InvalidValue {
    pub(super) fn new<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), hint: hint.into() })
    }
}

/// A type that is written as a TOML string.
pub(super) trait ParseText: Sized {
    /// An example with its quotes.
    const EXAMPLE: &'static str;

    fn from_text(text: &str) -> Result<Self, InvalidValue>;
}

pub(super) fn read_text<T: ParseText>(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<T> {
    match T::from_text(node.text(T::EXAMPLE, log)?) {
        Ok(value) => Some(value),
        Err(refusal) => {
            log.fault(&node.spot, refusal.message, refusal.hint);
            None
        }
    }
}
