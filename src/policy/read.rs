//! From TOML to the tables of [`super::file`], without stopping at the first fault.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Position};
use super::near::{listed, nearest, suggestion};

/// Where a setting stands: its dotted key, and its byte offset in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Spot {
    pub(super) key: String,
    pub(super) offset: usize,
}

impl Spot {
    /// A setting below this one, at this one's place in the file.
    pub(super) fn below(&self, name: &str) -> Self {
        let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let name = if !name.is_empty() && name.bytes().all(bare) { name.into() } else { format!("{name:?}") };
        let key = if self.key.is_empty() { name } else { format!("{}.{name}", self.key) };
        Self { key, offset: self.offset }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
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
pub(super) struct Log<'t> {
    text: &'t str,
    faults: Vec<Fault>,
}

impl<'t> Log<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: vec![] }
    }

    pub(super) fn fault(&mut self, spot: &Spot, message: impl Into<String>, hint: impl Into<String>) {
        let hint = hint.into();
        self.faults.push(Fault {
            at: Some(Position::of(self.text, spot.offset)),
            key: spot.key.clone(),
            message: message.into(),
            hint: (!hint.is_empty()).then_some(hint),
        });
    }

    /// Whether a fault was found at a setting or below it.
    pub(super) fn has_faults_at(&self, spot: &Spot) -> bool {
        let below = |key: &str| {
            key.strip_prefix(&spot.key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.faults.iter().any(|fault| below(&fault.key))
    }

    pub(super) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// In the order of the file.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.at);
        self.faults
    }

    /// Faults every key of `table` that is not `known`.
    pub(super) fn unknown_keys(&mut self, at: &Spot, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let spot = Spot { offset: key.span().start, ..at.below(name) };
                self.fault(&spot, "is not a setting drctl knows", suggestion("settings here", name, known));
            }
        }
    }

    /// Faults a setting that must be there and is not.
    pub(super) fn missing(&mut self, table: &Spot, name: &str, example: &str) {
        let spot = table.below(name);
        let hint = match example {
            "" => format!("add a `[{}]` table", spot.key),
            example if table.key.is_empty() => format!("add `{name} = {example}`"),
            example => format!("add `{name} = {example}` to `{}`", table.key),
        };
        self.fault(&spot, "is missing", hint);
    }
}

/// A TOML value and where it stands.
pub(super) struct Node<'n> {
    pub(super) value: &'n DeValue<'n>,
    pub(super) spot: Spot,
}

impl<'n> Node<'n> {
    /// The setting `name` of a table.
    pub(super) fn child(table: &'n DeTable<'n>, at: &Spot, name: &str) -> Option<Self> {
        let value = table.get(name)?;
        Some(Self { value: value.get_ref(), spot: Spot { offset: value.span().start, ..at.below(name) } })
    }

    pub(super) fn text(&self, example: &str, log: &mut Log<'_>) -> Option<&'n str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type("a string", &format!("write it like {example}"), log);
        }
        text
    }

    pub(super) fn table(&self, log: &mut Log<'_>) -> Option<&'n DeTable<'n>> {
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

    /// What stands there is not said: it may be a secret that was put in the wrong place.
    pub(super) fn wrong_type(&self, wanted: &str, hint: &str, log: &mut Log<'_>) {
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

/// What can stand in a policy. Reading reports every fault and gives `None` where nothing is left to
/// check.
pub(super) trait Read: Sized {
    /// For hints, as TOML; empty for tables.
    const EXAMPLE: &'static str;

    fn read(node: &Node<'_>, log: &mut Log<'_>) -> Option<Self>;
}

/// A table with a `kind`.
pub(super) trait Kind {
    /// As the policy writes it.
    fn kind(&self) -> &'static str;
}

pub(super) trait Table {
    /// The settings that are given, and where.
    fn given(&self) -> Vec<(&'static str, &Spot)>;
}

/// Reads an optional setting of a table.
pub(super) fn optional<T: Read>(
    table: &DeTable<'_>,
    at: &Spot,
    name: &str,
    log: &mut Log<'_>,
) -> Option<At<T>> {
    let node = Node::child(table, at, name)?;
    T::read(&node, log).map(|value| At { value, spot: node.spot })
}

/// Reads a setting that must be there.
pub(super) fn required<T: Read>(
    table: &DeTable<'_>,
    at: &Spot,
    name: &str,
    log: &mut Log<'_>,
) -> Option<At<T>> {
    if !table.contains_key(name) {
        log.missing(at, name, T::EXAMPLE);
    }
    optional(table, at, name, log)
}

impl<T: Read> Read for Vec<At<T>> {
    const EXAMPLE: &'static str = "[ … ]";

    fn read(node: &Node<'_>, log: &mut Log<'_>) -> Option<Self> {
        let Some(items) = node.value.as_array() else {
            node.wrong_type("a list", "put it in `[` and `]`", log);
            return None;
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let spot = Spot { key: format!("{}[{index}]", node.spot.key), offset: item.span().start };
            let node = Node { value: item.get_ref(), spot };
            all.extend(T::read(&node, log).map(|value| At { value, spot: node.spot }));
        }
        Some(all)
    }
}

/// One, or a list of them.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "the schema of `Several`; values are read by hand")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Clone, Debug, JsonSchema)]
#[schemars(transparent, inline)]
pub(super) struct Several<T>(#[schemars(with = "OneOrMany<T>")] pub(super) Vec<At<T>>);

impl<T: Read> Read for Several<T> {
    const EXAMPLE: &'static str = T::EXAMPLE;

    fn read(node: &Node<'_>, log: &mut Log<'_>) -> Option<Self> {
        if node.value.is_array() {
            return Vec::read(node, log).map(Self);
        }
        T::read(node, log).map(|value| Self(vec![At { value, spot: node.spot.clone() }]))
    }
}

/// A table whose keys are names that the policy chooses, in the order of the file.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(transparent, inline)]
pub(super) struct Named<K, V>(#[schemars(with = "BTreeMap<String, V>")] pub(super) Vec<(At<K>, At<V>)>);

impl<K, V> Default for Named<K, V> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<K: FromText, V: Read> Read for Named<K, V> {
    const EXAMPLE: &'static str = "";

    fn read(node: &Node<'_>, log: &mut Log<'_>) -> Option<Self> {
        let table = node.table(log)?;
        let mut keys: Vec<_> = table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        let mut all = Vec::new();
        for key in keys {
            let name: &str = key.get_ref();
            let spot = Spot { offset: key.span().start, ..node.spot.below(name) };
            let refused = |refusal: Refusal| log.fault(&spot, refusal.message, refusal.hint);
            let key = K::from_text(name).map_err(refused).ok();
            let value = optional(table, &node.spot, name, log);
            all.extend(key.zip(value).map(|(key, value)| (At { value: key, spot }, value)));
        }
        Some(Self(all))
    }
}

/// Why a text is not what it should be.
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Refusal {
    pub(super) fn new<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), hint: hint.into() })
    }
}

/// What is written as a TOML string.
pub(super) trait FromText: Sized {
    /// With its quotes.
    const EXAMPLE: &'static str;

    fn from_text(text: &str) -> Result<Self, Refusal>;
}

pub(super) fn read_text<T: FromText>(node: &Node<'_>, log: &mut Log<'_>) -> Option<T> {
    match T::from_text(node.text(T::EXAMPLE, log)?) {
        Ok(value) => Some(value),
        Err(refusal) => {
            log.fault(&node.spot, refusal.message, refusal.hint);
            None
        }
    }
}

/// Reads strings as `$type`.
macro_rules! text_values {
    ($($type:ty),* $(,)?) => { $(
        impl $crate::policy::read::Read for $type {
            const EXAMPLE: &'static str = <$type as $crate::policy::read::FromText>::EXAMPLE;

            fn read(
                node: &$crate::policy::read::Node<'_>,
                log: &mut $crate::policy::read::Log<'_>,
            ) -> Option<Self> {
                $crate::policy::read::read_text(node, log)
            }
        }
    )* };
}

/// A table of the policy: the struct, its reader and its schema, from one list of settings. Doc
/// comments become the schema's descriptions.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $name:ident {
            required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty,)* }
            optional { $($(#[$optional_meta:meta])* $optional:ident: $optional_type:ty,)* }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(in crate::policy) struct $name {
            $(
                $(#[$required_meta])*
                #[schemars(required)]
                pub(in crate::policy) $required: Option<$crate::policy::read::At<$required_type>>,
            )*
            $(
                $(#[$optional_meta])*
                pub(in crate::policy) $optional: Option<$crate::policy::read::At<$optional_type>>,
            )*
        }

        impl $name {
            /// `tag`: the setting that said that it is this table, if one did.
            pub(in crate::policy) fn read_tagged(
                node: &$crate::policy::read::Node<'_>,
                tag: Option<&str>,
                log: &mut $crate::policy::read::Log<'_>,
            ) -> Option<Self> {
                let table = node.table(log)?;
                let mut known = vec![$(stringify!($required),)* $(stringify!($optional),)*];
                known.extend(tag);
                log.unknown_keys(&node.spot, table, &known);
                Some(Self {
                    $($required: $crate::policy::read::required(table, &node.spot, stringify!($required), log),)*
                    $($optional: $crate::policy::read::optional(table, &node.spot, stringify!($optional), log),)*
                })
            }
        }

        impl $crate::policy::read::Table for $name {
            fn given(&self) -> Vec<(&'static str, &$crate::policy::read::Spot)> {
                let mut given = vec![];
                $(given.extend(self.$required.as_ref().map(|at| (stringify!($required), &at.spot)));)*
                $(given.extend(self.$optional.as_ref().map(|at| (stringify!($optional), &at.spot)));)*
                given
            }
        }

        impl $crate::policy::read::Read for $name {
            const EXAMPLE: &'static str = "";

            fn read(
                node: &$crate::policy::read::Node<'_>,
                log: &mut $crate::policy::read::Log<'_>,
            ) -> Option<Self> {
                Self::read_tagged(node, None, log)
            }
        }
    };
}

/// A table whose setting `kind` says which settings the rest has.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$variant_meta:meta])* $word:literal => $variant:ident($table:ty),)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(tag = "kind")]
        pub(in crate::policy) enum $name {
            $($(#[$variant_meta])* #[schemars(rename = $word)] $variant(Box<$crate::policy::read::At<$table>>),)*
        }

        impl $crate::policy::read::Kind for $name {
            fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word,)* }
            }
        }

        impl $crate::policy::read::Read for $name {
            const EXAMPLE: &'static str = "";

            fn read(
                node: &$crate::policy::read::Node<'_>,
                log: &mut $crate::policy::read::Log<'_>,
            ) -> Option<Self> {
                let table = node.table(log)?;
                match $crate::policy::read::kind(table, &node.spot, &[$($word),*], log)? {
                    $($word => {
                        let value = <$table>::read_tagged(node, Some("kind"), log)?;
                        Some(Self::$variant(Box::new($crate::policy::read::At { value, spot: node.spot.clone() })))
                    })*
                    _ => None,
                }
            }
        }
    };
}

/// A string out of a list.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub $name:ident { $($(#[$variant_meta:meta])* $word:literal => $variant:ident,)* }
    ) => {
        $crate::policy::read::words! {
            $(#[$meta])*
            (pub) $name { $($(#[$variant_meta])* $word => $variant,)* }
        }

        impl $name {
            /// As the policy writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
    (
        $(#[$meta:meta])*
        ($visibility:vis) $name:ident { $($(#[$variant_meta:meta])* $word:literal => $variant:ident,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
        $visibility enum $name {
            $($(#[$variant_meta])* #[schemars(rename = $word)] $variant,)*
        }

        impl $crate::policy::read::FromText for $name {
            const EXAMPLE: &'static str = $crate::policy::read::first(&[$(concat!('"', $word, '"')),*]);

            fn from_text(text: &str) -> Result<Self, $crate::policy::read::Refusal> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => $crate::policy::read::not_one_of(text, &[$($word),*]),
                }
            }
        }

        $crate::policy::read::text_values!($name);
    };
    (
        $(#[$meta:meta])*
        $name:ident { $($rest:tt)* }
    ) => {
        $crate::policy::read::words! { $(#[$meta])* (pub(in crate::policy)) $name { $($rest)* } }
    };
}

pub(super) use {kinds, table, text_values, words};

pub(super) const fn first(words: &[&'static str]) -> &'static str {
    match words {
        [first, ..] => first,
        [] => "",
    }
}

pub(super) fn not_one_of<T>(text: &str, words: &[&str]) -> Result<T, Refusal> {
    let hint = nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    Refusal::new(format!("`{text}` is not one of {}", listed(words)), hint.unwrap_or_default())
}

/// The `kind` of a table, if it is one of `kinds`.
pub(super) fn kind<'n>(
    table: &'n DeTable<'n>,
    at: &Spot,
    kinds: &[&str],
    log: &mut Log<'_>,
) -> Option<&'n str> {
    let Some(node) = Node::child(table, at, "kind") else {
        log.fault(&at.below("kind"), "is missing", format!("kinds: {}", listed(kinds)));
        return None;
    };
    let kind = node.text(&format!("{:?}", kinds.first().unwrap_or(&"")), log)?;
    if !kinds.contains(&kind) {
        log.fault(
            &node.spot,
            format!("`{kind}` is not a kind drctl knows"),
            suggestion("kinds", kind, kinds),
        );
        return None;
    }
    Some(kind)
}
