//! Preconditions of a restore, all checked at once.

use std::collections::BTreeSet;

use super::foreseen::Foreseen;
use super::loading::{
    DumpTransfer, LoadsInto, PG_CRON, cron_may_be_in, left_under_the_name, loads_into, route, standing,
};
use super::names::{near, unknown};
use super::{
    DumpRestoreRequest, DumpSurvey, EntrySelection, GlobalsPlan, ServerDirectory, TablespaceLocation,
};
use crate::model::{BackupId, DatabaseFacts};
use crate::restore::Refusal;
use crate::source::postgres_dump::capture::DATABASE;
use crate::text::quoted_list;

/// PostgreSQL's `NAMEDATALEN`, less the NUL.
const NAME_BYTES: usize = 63;
/// Databases that others are created from.
const TEMPLATES: [&str; 2] = ["template0", "template1"];
/// The database that clients connect to by default: it is never created or renamed.
const EVERYONES: &str = "postgres";

pub(super) fn refusals(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
    foreseen: &Foreseen,
    globals: Option<&GlobalsPlan>,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    refusals.extend(of_name(&request.database, request.keeps_name));
    refusals.extend(of_naming(request, situation));
    refusals.extend(of_target(request, situation));
    refusals.extend(of_what_it_needs(request, situation, foreseen, globals));
    refusals.extend(of_selection(&request.selection, &situation.recorded));
    refusals.extend(request.exclusion.unknown(&situation.recorded));
    let into = loads_into(request, &situation.target);
    if let Some(dump) = situation.manifest.artifact_of(DATABASE)
        && let DumpTransfer::Scratch { directory, needed, free } =
            route(request, dump, into, situation.scratch_free)
        && needed > free
    {
        refusals.push(Refusal::not_ready(
            "no-scratch-space",
            format!(
                "the unpacked dump needs {} in `{}`, where {} are free",
                bytesize::ByteSize(needed).display().iec(),
                directory.display(),
                bytesize::ByteSize(free).display().iec()
            ),
        ));
    }
    refusals
}

/// Refuses a backup that lacks an artifact.
pub(super) fn no_artifact(backup: &BackupId, artifact: &str) -> Refusal {
    Refusal::not_ready("no-artifact", format!("`{backup}` has no artifact `{artifact}`"))
}

/// Checks the name for an incomplete database, and the one that it is loaded under.
fn of_naming(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Vec<Refusal> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let mut refusals = Vec::new();
    let other = request.incomplete.as_ref().filter(|name| **name != request.database);
    if let Some(name) = other.filter(|_| !request.keeps_name) {
        refusals.extend(of_name(name, false));
        if target.databases.contains(name) {
            refusals.push(Refusal::not_ready(
                "incomplete-name-taken",
                format!("database `{name}` exists, and what is restored incompletely would get that name"),
            ));
        }
    }
    let has_cron = recorded.extensions.iter().any(|extension| extension.name == PG_CRON);
    let loaded = if request.keeps_name { Some(&request.database) } else { None };
    let is_there = target.extensions.contains_key(PG_CRON);
    if has_cron
        && is_there
        && !cron_may_be_in(request, target)
        && request.incomplete.is_none()
        && request.selection.is_everything()
    {
        let loaded =
            loaded.map_or_else(|| "a database with a temporary name".to_owned(), |name| format!("`{name}`"));
        let bound = match &target.cron_database {
            Some(database) => format!("database `{database}` (`cron.database_name`)"),
            None => "the database that `cron.database_name` names".to_owned(),
        };
        refusals.push(Refusal::not_ready(
            "cron-elsewhere",
            format!("extension pg_cron can be in {bound} only, and the dump is loaded into {loaded}"),
        ));
    }
    refusals
}

fn of_name(name: &str, keeps_name: bool) -> Option<Refusal> {
    if TEMPLATES.contains(&name) || name == EVERYONES && !keeps_name {
        let message =
            format!("`{name}` cannot be the name of a restored database: the server needs that one itself");
        return Some(Refusal::usage("reserved-name", message));
    }
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES && !name.contains('\0');
    (!is_name).then(|| {
        let message = format!(
            "`{name}` cannot be the name of a database: it is empty, has a NUL in it or is longer than {NAME_BYTES} bytes"
        );
        Refusal::usage("invalid-name", message)
    })
}

fn of_target(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Vec<Refusal> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let mut refusals = Vec::new();
    if target.major < recorded.major {
        refusals.push(Refusal::not_ready(
            "older-server",
            format!(
                "the target server is PostgreSQL {}, the dump is of PostgreSQL {}: it may not load into an older one",
                target.major, recorded.major
            ),
        ));
    }
    let into = loads_into(request, target);
    if !target.may_create_databases && into != LoadsInto::Existing {
        let message = format!("role `{}` may not create databases on the target server", target.role);
        refusals.push(Refusal::not_ready("no-createdb", message));
    }
    if let Some(reason) = target.locale_problem.clone().filter(|_| into != LoadsInto::Existing) {
        let (locale, provider) =
            (recorded.icu_locale.as_ref().unwrap_or(&recorded.collate), &recorded.locale_provider);
        let message = format!("the target server does not have the locale `{locale}` ({provider}): {reason}");
        refusals.push(Refusal::not_ready("no-locale", message));
    }
    let Some(existing) = standing(request, target) else { return refusals };
    let database = &request.database;
    let refusal = if let Some(leftover) = left_under_the_name(request, target) {
        match leftover.connections {
            0 => Refusal::not_ready(
                "leftover-database",
                format!("database `{database}` is left of a restore that did not end, and is not complete"),
            ),
            _ => Refusal::not_ready(
                "being-restored",
                format!("database `{database}` is being restored by another run"),
            ),
        }
    } else if !existing.takes_connections {
        Refusal::not_ready(
            "database-closed",
            format!(
                "database `{database}` exists and does not take connections: whether it is empty is unknown"
            ),
        )
    } else if existing.lacks_public
        && into == LoadsInto::Existing
        && recorded.schemas.iter().any(|schema| schema == "public")
    {
        Refusal::not_ready(
            "no-public-schema",
            format!("database `{database}` has no schema `public`, which the dump needs and does not create"),
        )
    } else if !existing.holds.is_empty() {
        let holds = existing.holds.join(", ");
        Refusal::not_ready(
            "database-not-empty",
            format!("database `{database}` is not empty: it has {holds}"),
        )
    } else if existing.connections > 0 && into != LoadsInto::Existing {
        Refusal::not_ready(
            "database-in-use",
            format!(
                "database `{database}` exists, is empty, and is in use by {} connections",
                existing.connections
            ),
        )
    } else if !target.superuser && !target.member_of.contains(&existing.owner) {
        Refusal::not_ready(
            "database-not-owned",
            format!(
                "database `{database}` exists and belongs to `{}`, whose databases `{}` may not replace",
                existing.owner, target.role
            ),
        )
    } else {
        return refusals;
    };
    refusals.push(refusal);
    refusals
}

fn of_what_it_needs(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
    foreseen: &Foreseen,
    globals: Option<&GlobalsPlan>,
) -> Vec<Refusal> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let made = |names: fn(&GlobalsPlan) -> &Vec<String>| -> BTreeSet<&String> {
        globals.map(|globals| names(globals).iter().collect()).unwrap_or_default()
    };
    let mut refusals = Vec::new();
    if request.globals && globals.is_none() {
        let message = "the backup has no roles and tablespaces in it (`globals.sql`)";
        refusals.push(Refusal::not_ready("no-globals", message));
    }
    let new_roles = made(|globals| &globals.roles);
    if !new_roles.is_empty() && !target.may_create_roles {
        let missing = new_roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!(
            "role `{}` may not create roles on the target server, and {missing} are missing",
            target.role
        );
        refusals.push(Refusal::not_ready("no-createrole", message));
    }
    refusals.extend(of_roles(request, situation, foreseen, &new_roles));
    if request.tablespaces {
        let new = made(|globals| &globals.tablespaces);
        let missing = recorded
            .tablespaces
            .iter()
            .filter(|name| !target.tablespaces.contains(*name) && !new.contains(name));
        let missing: Vec<String> = missing.cloned().collect();
        if !missing.is_empty() {
            let message = format!("the target server has no {}", with_noun("tablespace", &missing));
            refusals.push(Refusal::not_ready("no-tablespace", message));
        }
    }
    refusals.extend(globals.into_iter().flat_map(|globals| of_directories(globals, situation)));
    // A few tables may need more extensions than is known; if they do, the load reports it.
    let needed: Vec<String> = if request.selection.is_everything() {
        recorded.extensions.iter().map(|extension| extension.name.clone()).collect()
    } else {
        foreseen.extensions.clone()
    };
    let missing: Vec<String> =
        needed.into_iter().filter(|name| !target.extensions.contains_key(name)).collect();
    if !missing.is_empty() && request.incomplete.is_none() {
        let message =
            format!("the target server does not have the files of the {}", with_noun("extension", &missing));
        refusals.push(Refusal::not_ready("no-extension", message));
    }
    refusals
}

/// Checks the original directories of tablespaces: one that is not empty may be in use by a running server.
fn of_directories(globals: &GlobalsPlan, situation: &DumpSurvey) -> Vec<Refusal> {
    let refused = |place: &TablespaceLocation| {
        let TablespaceLocation { tablespace, location } = place;
        let directory = format!("directory `{location}` of tablespace `{tablespace}`");
        match situation.target.directories.get(location)? {
            ServerDirectory::Missing => Some(Refusal::not_ready(
                "no-tablespace-directory",
                format!("the {directory} does not exist on the target server"),
            )),
            ServerDirectory::NotADirectory => Some(Refusal::not_ready(
                "no-tablespace-directory",
                format!("the {directory} is not a directory on the target server"),
            )),
            ServerDirectory::Holds(entries) => Some(Refusal::not_ready(
                "tablespace-directory-used",
                format!(
                    "the {directory} is not empty on the target server, and another cluster may be using it: it has {}",
                    entries.join(", ")
                ),
            )),
            ServerDirectory::Empty | ServerDirectory::Unknown(_) => None,
        }
    };
    globals.locations.iter().filter_map(refused).collect()
}

/// Checks only roles that the dump names: the creator of an extension and the owners of its objects are in no
/// dump.
fn of_roles(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
    foreseen: &Foreseen,
    new_roles: &BTreeSet<&String>,
) -> Vec<Refusal> {
    let (target, owner) = (&situation.target, &situation.recorded.owner);
    let named = foreseen.roles.clone().unwrap_or_default();
    let missing = |roles: BTreeSet<String>| -> Vec<String> {
        let missing = |role: &String| !target.roles.contains(role) && !new_roles.contains(role);
        roles.into_iter().filter(missing).collect()
    };
    let mut refusals = Vec::new();
    if !request.owners {
        let missing = missing(named.needed(false));
        if !missing.is_empty() {
            let message = format!(
                "the target server has no {}, for which there are policies or user mappings",
                with_noun("role", &missing)
            );
            refusals.push(Refusal::not_ready("no-meant-role", message));
        }
        return refusals;
    }
    let is_foreign = |role: &String| target.roles.contains(role) && !target.member_of.contains(role);
    if !target.superuser && is_foreign(owner) {
        let message = format!(
            "role `{}` is not a member of `{owner}`, which the database is to belong to",
            target.role
        );
        refusals.push(Refusal::not_ready("not-member-of-owner", message));
    }
    let foreign: Vec<String> =
        named.owners.iter().filter(|role| *role != owner && is_foreign(role)).cloned().collect();
    if !target.superuser && !foreign.is_empty() {
        let message = format!(
            "role `{}` is not a member of {}, to which objects of the dump belong",
            target.role,
            with_noun("role", &foreign)
        );
        refusals.push(Refusal::not_ready("not-member-of-owner", message));
    }
    let missing = missing(named.needed(true).into_iter().chain([owner.clone()]).collect());
    if !missing.is_empty() {
        let message = format!("the target server has no {}", with_noun("role", &missing));
        refusals.push(Refusal::not_ready("no-role", message));
    }
    refusals
}

fn of_selection(selection: &EntrySelection, recorded: &DatabaseFacts) -> Vec<Refusal> {
    let table_names: Vec<String> =
        recorded.tables.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect();
    let sequences = recorded.sequences.iter().map(|sequence| (&sequence.schema, &sequence.name));
    let known: BTreeSet<(&String, &String)> =
        recorded.tables.iter().map(|table| (&table.schema, &table.name)).chain(sequences).collect();
    let tables = selection.tables.iter().filter(|(schema, name)| !known.contains(&(schema, name))).map(
        |(schema, name)| {
            let name = format!("{schema}.{name}");
            unknown("table", &name, &near(&name, &table_names))
        },
    );
    let schemas = selection
        .schemas
        .iter()
        .filter(|name| !recorded.schemas.contains(name))
        .map(|name| unknown("schema", name, &near(name, &recorded.schemas)));
    tables.chain(schemas).collect()
}

fn with_noun(noun: &str, names: &[String]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", quoted_list(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::logical::tests::{request, situation};
    use crate::restore::logical::{ExistingDatabase, plan};

    /// What is refused after `change`, as it is told.
    fn refused(change: impl FnOnce(&mut DumpRestoreRequest, &mut DumpSurvey)) -> Vec<String> {
        let (mut request, mut situation) = (request(), situation());
        change(&mut request, &mut situation);
        let planned = plan(&request, situation, "2026-11-21T22:02:51Z".parse().unwrap(), 5);
        planned.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn existing(situation: &mut DumpSurvey) -> &mut ExistingDatabase {
        situation.target.existing.insert(ExistingDatabase {
            owner: "app".to_owned(),
            takes_connections: true,
            connections: 0,
            ..ExistingDatabase::default()
        })
    }

    #[test]
    fn nothing_stands_against_a_good_target() {
        assert_eq!(refused(|_, _| {}), Vec::<String>::new());
        assert_eq!(refused(|_, situation| drop(existing(situation).owner.clone())), Vec::<String>::new());
    }

    #[test]
    fn a_target_that_is_not_empty_or_not_ours_is_refused() {
        let holds = refused(|_, situation| existing(situation).holds.push("table t".to_owned()));
        assert_eq!(holds, ["database `restored` is not empty: it has table t"]);
        let used = refused(|_, situation| existing(situation).connections = 2);
        assert_eq!(used, ["database `restored` exists, is empty, and is in use by 2 connections"]);
        assert_eq!(refused(|_, situation| existing(situation).takes_connections = false).len(), 1);
        let foreign = refused(|_, situation| {
            existing(situation).owner = "someone".to_owned();
            situation.target.superuser = false;
            situation.target.member_of = ["app".to_owned()].into();
        });
        assert_eq!(
            foreign,
            [
                "database `restored` exists and belongs to `someone`, whose databases `postgres` may not replace"
            ]
        );
    }

    #[test]
    fn an_empty_database_of_ones_own_needs_no_right_to_make_one() {
        let weak = |situation: &mut DumpSurvey| {
            situation.target.may_create_databases = false;
            situation.target.locale_problem = Some("no such file".to_owned());
        };
        let into = refused(|request, situation| {
            request.keeps_name = true;
            existing(situation).connections = 1;
            weak(situation);
        });
        assert_eq!(into, Vec::<String>::new());
        let new = refused(|request, situation| {
            request.keeps_name = true;
            weak(situation);
        });
        assert_eq!(new.len(), 2);
        assert_eq!(
            refused(|request, _| (request.database, request.keeps_name) = ("postgres".to_owned(), true)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_a_restore_left_under_the_name_is_told_from_data() {
        let left = |drop| {
            refused(|request, situation| {
                request.drop_leftovers = drop;
                existing(situation).holds.push("table t".to_owned());
                situation.target.leftovers.push(crate::restore::logical::LeftoverDatabase {
                    database: "restored".to_owned(),
                    comment: Some("drctl: being restored from x".to_owned()),
                    connections: 0,
                });
            })
        };
        assert_eq!(
            left(false),
            ["database `restored` is left of a restore that did not end, and is not complete"]
        );
        assert_eq!(left(true), Vec::<String>::new());
    }

    #[test]
    fn the_name_for_what_is_incomplete_is_free_and_a_name() {
        let named = |name: &str| {
            refused(|request, situation| {
                request.incomplete = Some(name.to_owned());
                situation.target.databases.insert("there".to_owned());
            })
        };
        assert_eq!(named("restored_incomplete"), Vec::<String>::new());
        assert_eq!(
            named("there"),
            ["database `there` exists, and what is restored incompletely would get that name"]
        );
        assert_eq!(named(&"x".repeat(64)).len(), 1);
    }

    #[test]
    fn pg_cron_is_only_loaded_where_it_can_be() {
        let cron = |bound: Option<&str>, keeps: bool| {
            refused(|request, situation| {
                request.keeps_name = keeps;
                situation.target.cron_database = bound.map(str::to_owned);
                situation.target.extensions.insert("pg_cron".to_owned(), "1.6".to_owned());
                situation.recorded.extensions[0].name = "pg_cron".to_owned();
            })
        };
        assert_eq!(cron(Some("restored"), true), Vec::<String>::new());
        assert_eq!(
            cron(Some("restored"), false),
            [
                "extension pg_cron can be in database `restored` (`cron.database_name`) only, and the dump is loaded into a database with a temporary name"
            ]
        );
        assert_eq!(cron(Some("postgres"), true).len(), 1);
        assert_eq!(
            cron(None, true),
            [
                "extension pg_cron can be in the database that `cron.database_name` names only, and the dump is loaded into `restored`"
            ]
        );
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["postgres", "template1", "", "a\0b", &"ä".repeat(32)] {
            assert_eq!(refused(|request, _| name.clone_into(&mut request.database)).len(), 1, "{name}");
        }
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let all = refused(|_, situation| {
            let target = &mut situation.target;
            target.major = 14;
            target.may_create_databases = false;
            target.roles.remove("app");
            target.extensions.clear();
            target.tablespaces.clear();
            target.locale_problem = Some("no such file".to_owned());
            situation.scratch_free = 1 << 20;
        });
        assert_eq!(
            all,
            [
                "the target server is PostgreSQL 14, the dump is of PostgreSQL 15: it may not load into an older one",
                "role `postgres` may not create databases on the target server",
                "the target server does not have the locale `de_DE.UTF-8` (libc): no such file",
                "the target server has no role `app`",
                "the target server has no tablespace `fast`",
                "the target server does not have the files of the extension `hstore`",
                "the unpacked dump needs 17.0 MiB in `/tmp`, where 1.0 MiB are free",
            ]
        );
    }

    #[test]
    fn roles_and_tablespaces_that_will_be_made_are_not_missing() {
        let script = "CREATE ROLE app; CREATE TABLESPACE fast OWNER app LOCATION '/mnt';";
        let bare = |situation: &mut DumpSurvey| {
            situation.target.roles.remove("app");
            situation.target.tablespaces.clear();
        };
        let made = refused(|request, situation| {
            bare(situation);
            request.globals = true;
            situation.globals = Some(script.to_owned());
        });
        assert_eq!(made, Vec::<String>::new());
        let without = refused(|request, situation| {
            bare(situation);
            request.owners = false;
            request.tablespaces = false;
        });
        assert_eq!(without, Vec::<String>::new());
        let none = refused(|request, _| request.globals = true);
        assert_eq!(none, ["the backup has no roles and tablespaces in it (`globals.sql`)"]);
        let may_not = refused(|request, situation| {
            bare(situation);
            request.globals = true;
            situation.globals = Some(script.to_owned());
            situation.target.may_create_roles = false;
        });
        assert_eq!(
            may_not,
            ["role `postgres` may not create roles on the target server, and app are missing"]
        );
    }

    #[test]
    fn tablespaces_are_made_in_empty_directories_only() {
        let planned = |state: ServerDirectory, with: bool| {
            refused(|request, situation| {
                (request.globals, request.tablespaces) = (true, with);
                situation.target.tablespaces.clear();
                let script = "CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast';";
                situation.globals = Some(script.to_owned());
                situation.target.directories.insert("/mnt/fast".to_owned(), state);
            })
        };
        assert_eq!(planned(ServerDirectory::Empty, true), Vec::<String>::new());
        assert_eq!(planned(ServerDirectory::Unknown("no".to_owned()), true), Vec::<String>::new());
        let used = || ServerDirectory::Holds(vec!["PG_15_202209061".to_owned()]);
        assert_eq!(
            planned(used(), true),
            [
                "the directory `/mnt/fast` of tablespace `fast` is not empty on the target server, and another cluster may be using it: it has PG_15_202209061"
            ]
        );
        assert_eq!(planned(used(), false), Vec::<String>::new());
        assert_eq!(
            planned(ServerDirectory::Missing, true),
            ["the directory `/mnt/fast` of tablespace `fast` does not exist on the target server"]
        );
    }

    #[test]
    fn a_database_without_the_schema_public_is_not_loaded_into() {
        let without = |keeps: bool| {
            refused(|request, situation| {
                request.keeps_name = keeps;
                existing(situation).lacks_public = true;
            })
        };
        assert_eq!(
            without(true),
            ["database `restored` has no schema `public`, which the dump needs and does not create"]
        );
        assert_eq!(without(false), Vec::<String>::new(), "it is replaced by a new one");
    }

    #[test]
    fn only_what_the_dump_names_is_needed_whatever_was_recorded() {
        let recorded = |situation: &mut DumpSurvey| situation.recorded.roles.push("rdsadmin".to_owned());
        assert_eq!(refused(|_, situation| recorded(situation)), Vec::<String>::new());
        let unknown = refused(|_, situation| {
            recorded(situation);
            situation.contents = None;
        });
        assert_eq!(unknown, Vec::<String>::new(), "what cannot be known is not refused");
        let named = |situation: &mut DumpSurvey, definition: &str, kind: &str| {
            let entry = crate::restore::logical::contents::tests::entry(9, kind, "x", "app", definition);
            situation.contents.as_mut().unwrap().entries.push(entry);
        };
        let granted = refused(|_, situation| named(situation, "GRANT ALL ON TABLE s.t TO rdsadmin;", "ACL"));
        assert_eq!(granted, ["the target server has no role `rdsadmin`"]);
        let policy = "CREATE POLICY p ON s.t TO tenant USING (true);";
        let meant = refused(|request, situation| {
            request.owners = false;
            named(situation, policy, "POLICY");
        });
        assert_eq!(
            meant,
            ["the target server has no role `tenant`, for which there are policies or user mappings"]
        );
    }

    #[test]
    fn owners_that_the_restoring_role_is_no_member_of_are_refused() {
        let all = refused(|_, situation| {
            let other = crate::restore::logical::contents::tests::entry(9, "VIEW", "v", "other", "");
            situation.contents.as_mut().unwrap().entries.push(other);
            situation.target.roles.insert("other".to_owned());
            situation.target.member_of = ["app".to_owned()].into();
            situation.target.superuser = false;
        });
        assert_eq!(
            all,
            ["role `postgres` is not a member of role `other`, to which objects of the dump belong"]
        );
    }

    #[test]
    fn a_role_that_is_not_a_member_of_the_owner_is_refused() {
        let all = refused(|_, situation| {
            situation.target.superuser = false;
            situation.target.member_of.clear();
        });
        assert_eq!(all, ["role `postgres` is not a member of `app`, which the database is to belong to"]);
    }

    #[test]
    fn unknown_tables_and_schemas_are_refused_with_near_names() {
        let all = refused(|request, _| {
            request.selection.tables.push(("public".to_owned(), "odrers".to_owned()));
            request.selection.schemas.push("nothing".to_owned());
        });
        assert_eq!(
            all,
            [
                "the backup has no table `public.odrers`; near it: `public.orders`",
                "the backup has no schema `nothing`"
            ]
        );
        let excluded = refused(|request, _| {
            request.exclusion.table_data.push(("public".to_owned(), "odrers".to_owned()));
            request.exclusion.schemas.push("nothing".to_owned());
        });
        assert_eq!(excluded.len(), 2, "{excluded:?}");
    }

    #[test]
    fn a_backup_without_a_dump_is_refused() {
        assert_eq!(refused(|_, situation| situation.manifest.artifacts.clear()).len(), 1);
    }
}
