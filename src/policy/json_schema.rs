use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;

use super::schema::PolicyTable;

/// Returns the JSON Schema of a policy file, for editors.
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12()
        .with_transform(without_null)
        .with_transform(unwrapped)
        .into_generator()
        .into_root_schema_for::<PolicyTable>()
}

/// Removes `null` from the schema, since TOML has none: an optional setting is omitted.
fn without_null(schema: &mut Schema) {
    transform_subschemas(&mut without_null, schema);
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(types) = object.get_mut("type").and_then(|types| types.as_array_mut()) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(choices) = object.get_mut("anyOf").and_then(|choices| choices.as_array_mut()) else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if let [only] = choices.as_slice()
        && let Some(only) = only.as_object().cloned()
    {
        object.remove("anyOf");
        for (name, value) in only {
            object.entry(name).or_insert(value);
        }
    }
}

/// Removes the line breaks of the source from descriptions; paragraphs stay.
fn unwrapped(schema: &mut Schema) {
    transform_subschemas(&mut unwrapped, schema);
    if let Some(text) = schema.get("description").and_then(|text| text.as_str()) {
        let text = text.split("\n\n").map(|text| text.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
        schema.insert("description".to_owned(), text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/drctl-policy.schema.json");
        let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        assert!(
            std::fs::read_to_string(path).unwrap() == generated,
            "run `drctl policy schema > policies/drctl-policy.schema.json`"
        );
    }

    #[test]
    fn it_knows_no_null() {
        let schema = serde_json::to_value(schema()).unwrap();
        assert!(!schema.to_string().contains("null"));
        assert_eq!(schema["additionalProperties"], false);
    }
}
