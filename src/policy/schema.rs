use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;

use super::file::PolicyTable;

/// The JSON Schema of a policy file, for editors.
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12()
        .with_transform(without_null)
        .into_generator()
        .into_root_schema_for::<PolicyTable>()
}

/// TOML has no null: a setting that is optional is left out.
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
