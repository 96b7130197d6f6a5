use crate::model::{Artifact, DatabaseFacts};
use crate::source::manual_restore::plain;

/// Returns the commands that restore a dump with standard tools, for the manifest. They name no objects of
/// the database.
pub(crate) fn commands(dump: &Artifact, globals: Option<&Artifact>, facts: &DatabaseFacts) -> Vec<String> {
    let mut lines = vec![
        "# in a directory with this backup's objects; each command must end with exit status 0 (bash: set -o pipefail)"
            .to_owned(),
    ];
    if let Some(globals) = globals {
        lines.push(format!(
            "{} > restored.sql  # roles; read it, then run it where they are missing",
            plain(globals)
        ));
        lines.push("psql --no-psqlrc --dbname=postgres --file=restored.sql".to_owned());
    }
    lines.push(format!("createdb --template=template0 {} restored", locale(facts)));
    lines.push(format!("{} > restored.dump", plain(dump)));
    lines.push(format!("echo '{}  restored.dump' | sha256sum --check", dump.plain.sha256));
    lines.push(
        "pg_restore --exit-on-error --dbname=restored restored.dump  # --jobs=4 is faster; where that fails (rows of \
         extensions' tables, PostGIS topology), drop the database and load it without"
            .to_owned(),
    );
    lines.push("vacuumdb --analyze-only --dbname=restored".to_owned());
    lines
}

fn locale(facts: &DatabaseFacts) -> String {
    let mut words = format!(
        "--encoding={} --lc-collate={} --lc-ctype={}",
        quoted(&facts.encoding),
        quoted(&facts.collate),
        quoted(&facts.ctype)
    );
    let option = match facts.locale_provider.as_str() {
        "icu" => "icu-locale",
        "builtin" => "builtin-locale",
        _ => {
            if facts.major >= 15 {
                words.push_str(" --locale-provider=libc");
            }
            return words;
        }
    };
    words.push_str(&format!(" --locale-provider={}", facts.locale_provider));
    if let Some(locale) = &facts.icu_locale {
        words.push_str(&format!(" --{option}={}", quoted(locale)));
    }
    words
}

/// Quotes for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Encoding, ObjectPart};

    #[test]
    fn every_object_and_every_step_is_named() {
        let object = |name: &str| ObjectPart { name: name.to_owned(), stored: Digest::compute(b"x") };
        let dump = Artifact {
            name: "database.dump.zst.age".to_owned(),
            plain: Digest::compute(b"plain"),
            encoding: vec![Encoding::Zstd, Encoding::Age],
            objects: vec![object("database.dump.zst.age"), object("database.dump.zst.age.001")],
        };
        let facts = DatabaseFacts {
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "it's".to_owned(),
            locale_provider: "icu".to_owned(),
            icu_locale: Some("de-DE".to_owned()),
            ..DatabaseFacts::default()
        };
        let text = commands(&dump, None, &facts).join("\n");
        for part in [
            r"--lc-collate=C --lc-ctype='it'\''s' --locale-provider=icu --icu-locale=de-DE restored",
            "cat database.dump.zst.age database.dump.zst.age.001 | age -d -i identity.txt | zstd -d > restored.dump",
            "pg_restore --exit-on-error --dbname=restored restored.dump",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
