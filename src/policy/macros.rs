//! Macros that make a table of the policy, its reader and its schema from one list of settings.

use toml::de::DeTable;

use super::decode::{Diagnostics, InvalidValue, KeyLocation, Node};
use crate::text::{nearest, quoted_list, suggest};

/// Implements a JSON Schema for strings of some form.
macro_rules! text_schemas {
    ($($type:ty, $name:literal, { $($rest:tt)* };)*) => { $(
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", $($rest)* })
            }
        }
    )* };
}

/// Decodes strings as `$type`.
macro_rules! text_values {
    ($($type:ty),* $(,)?) => { $(
        impl $crate::policy::decode::Decode for $type {
            const EXAMPLE: &'static str = <$type as $crate::policy::decode::ParseText>::EXAMPLE;

            fn read(
                node: &$crate::policy::decode::Node<'_>,
                log: &mut $crate::policy::decode::Diagnostics<'_>,
            ) -> Option<Self> {
                $crate::policy::decode::read_text(node, log)
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
                pub(in crate::policy) $required: Option<$crate::policy::decode::Spanned<$required_type>>,
            )*
            $(
                $(#[$optional_meta])*
                pub(in crate::policy) $optional: Option<$crate::policy::decode::Spanned<$optional_type>>,
            )*
        }

        impl $name {
            /// Reads the table. `tag`: the setting that selected this table, if one did.
            pub(in crate::policy) fn read_tagged(
                node: &$crate::policy::decode::Node<'_>,
                tag: Option<&str>,
                log: &mut $crate::policy::decode::Diagnostics<'_>,
            ) -> Option<Self> {
                let table = node.table(log)?;
                let mut known = vec![$(stringify!($required),)* $(stringify!($optional),)*];
                known.extend(tag);
                log.unknown_keys(&node.spot, table, &known);
                Some(Self {
                    $($required: $crate::policy::decode::required(table, &node.spot, stringify!($required), log),)*
                    $($optional: $crate::policy::decode::optional(table, &node.spot, stringify!($optional), log),)*
                })
            }
        }

        impl $crate::policy::decode::TomlTable for $name {
            fn given(&self) -> Vec<(&'static str, &$crate::policy::decode::KeyLocation)> {
                let mut given = vec![];
                $(given.extend(self.$required.as_ref().map(|at| (stringify!($required), &at.spot)));)*
                $(given.extend(self.$optional.as_ref().map(|at| (stringify!($optional), &at.spot)));)*
                given
            }
        }

        impl $crate::policy::decode::Decode for $name {
            const EXAMPLE: &'static str = "";

            fn read(
                node: &$crate::policy::decode::Node<'_>,
                log: &mut $crate::policy::decode::Diagnostics<'_>,
            ) -> Option<Self> {
                Self::read_tagged(node, None, log)
            }
        }
    };
}

/// A table whose setting `kind` determines its other settings.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$variant_meta:meta])* $word:literal => $variant:ident($table:ty),)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(tag = "kind")]
        pub(in crate::policy) enum $name {
            $($(#[$variant_meta])* #[schemars(rename = $word)] $variant(Box<$crate::policy::decode::Spanned<$table>>),)*
        }

        impl $crate::policy::decode::Decode for $name {
            const EXAMPLE: &'static str = "";

            fn read(
                node: &$crate::policy::decode::Node<'_>,
                log: &mut $crate::policy::decode::Diagnostics<'_>,
            ) -> Option<Self> {
                let table = node.table(log)?;
                match $crate::policy::macros::kind(table, &node.spot, &[$($word),*], log)? {
                    $($word => {
                        let value = <$table>::read_tagged(node, Some("kind"), log)?;
                        Some(Self::$variant(Box::new($crate::policy::decode::Spanned { value, spot: node.spot.clone() })))
                    })*
                    _ => None,
                }
            }
        }
    };
}

/// A string from a fixed list.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub $name:ident { $($(#[$variant_meta:meta])* $word:literal => $variant:ident,)* }
    ) => {
        $crate::policy::macros::words! {
            $(#[$meta])*
            (pub) $name { $($(#[$variant_meta])* $word => $variant,)* }
        }

        impl $name {
            /// Returns the word as written in the policy.
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

        impl $crate::policy::decode::ParseText for $name {
            const EXAMPLE: &'static str = $crate::policy::macros::first(&[$(concat!('"', $word, '"')),*]);

            fn from_text(text: &str) -> Result<Self, $crate::policy::decode::InvalidValue> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => $crate::policy::macros::unknown_value(text, &[$($word),*]),
                }
            }
        }

        $crate::policy::macros::text_values!($name);
    };
    (
        $(#[$meta:meta])*
        $name:ident { $($rest:tt)* }
    ) => {
        $crate::policy::macros::words! { $(#[$meta])* (pub(in crate::policy)) $name { $($rest)* } }
    };
}

pub(super) use {kinds, table, text_schemas, text_values, words};

pub(super) const fn first(words: &[&'static str]) -> &'static str {
    match words {
        [first, ..] => first,
        [] => "",
    }
}

pub(super) fn unknown_value<T>(text: &str, words: &[&str]) -> Result<T, InvalidValue> {
    let hint = nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    InvalidValue::new(format!("`{text}` is not one of {}", quoted_list(words)), hint.unwrap_or_default())
}

/// Returns the `kind` of a table, if it is one of `kinds`.
pub(super) fn kind<'n>(
    table: &'n DeTable<'n>,
    at: &KeyLocation,
    kinds: &[&str],
    log: &mut Diagnostics<'_>,
) -> Option<&'n str> {
    let Some(node) = Node::child(table, at, "kind") else {
        log.fault(&at.below("kind"), "is missing", format!("kinds: {}", quoted_list(kinds)));
        return None;
    };
    let kind = node.text(&format!("{:?}", kinds.first().unwrap_or(&"")), log)?;
    if !kinds.contains(&kind) {
        log.fault(&node.spot, format!("`{kind}` is not a kind drctl knows"), suggest("kinds", kind, kinds));
        return None;
    }
    Some(kind)
}
