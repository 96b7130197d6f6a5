//! Which roles and tablespaces of a backup's `globals.sql` are created, and with which statements.
//!
//! Existing ones are never altered: neither their attributes nor their passwords. Only statements that were
//! understood are executed; the others are reported and left to an operator.

use std::collections::BTreeSet;

use serde::Serialize;

use super::globals_sql::{SqlStatement, split};

/// What will be created.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GlobalsPlan {
    /// Roles that are created.
    pub roles: Vec<String>,
    /// Roles that exist and are left unchanged.
    pub existing_roles: Vec<String>,
    /// Tablespaces that are created.
    pub tablespaces: Vec<String>,
    /// The directories of these.
    pub locations: Vec<TablespaceLocation>,
    /// Created roles that may log in but have no password: the backup does not contain it.
    pub need_password: Vec<String>,
    /// Created roles that the restoring role joins, to assign ownership to them.
    pub joined: Vec<String>,
    /// What was not understood or is not allowed here, as text.
    pub left_out: Vec<String>,
    /// Run in one transaction.
    #[serde(skip)]
    pub(super) role_steps: Vec<GlobalsStep>,
    /// Run one after the other: a tablespace cannot be created in a transaction.
    #[serde(skip)]
    pub(super) tablespace_steps: Vec<GlobalsStep>,
}

/// A tablespace and its directory on the server's host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TablespaceLocation {
    pub tablespace: String,
    pub location: String,
}

impl TablespaceLocation {
    /// Parses `CREATE TABLESPACE name … LOCATION 'path'`. One inside of the data directory has no path.
    fn of(statement: &SqlStatement) -> Option<Self> {
        let position =
            statement.begins(&["CREATE", "TABLESPACE", "?"]).then(|| statement.find_last("LOCATION"))?;
        let location = statement.constant(position? + 1).filter(|location| !location.is_empty())?;
        Some(Self { tablespace: statement.name(2).to_owned(), location })
    }
}

/// Returns the directories of all tablespaces of a script.
pub(super) fn locations(script: &str) -> BTreeSet<String> {
    split(script).iter().filter_map(TablespaceLocation::of).map(|place| place.location).collect()
}

/// A statement, and whether its failure ends the restore. A setting or a comment that the server rejects does
/// not.
#[derive(Clone, Debug)]
pub(super) struct GlobalsStep {
    pub(super) statement: SqlStatement,
    pub(super) is_needed: bool,
}

/// What exists on the target, and what the restoring role may do there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Existing<'a> {
    pub(super) major: u32,
    pub(super) roles: &'a BTreeSet<String>,
    pub(super) tablespaces: &'a BTreeSet<String>,
    /// The restoring role.
    pub(super) role: &'a str,
    pub(super) superuser: bool,
    pub(super) may_create_databases: bool,
    pub(super) may_replicate: bool,
    pub(super) bypasses_row_security: bool,
}

/// What the restore needs of the script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs<'a> {
    /// Roles that the dump names.
    pub(super) roles: &'a BTreeSet<String>,
    /// Those of them that own something.
    pub(super) owners: &'a BTreeSet<String>,
    pub(super) tablespaces: bool,
}

/// The first version in which CREATEROLE grants no attribute that the role does not have itself.
const FIRST_WITH_OWN_ATTRIBUTES: u32 = 16;
/// The first version in which a membership may be granted more than once, by different grantors.
const FIRST_WITH_GRANTORS: u32 = 16;

/// Reads the script and decides.
pub(super) fn plan(script: &str, existing: Existing<'_>, needs: Needs<'_>) -> GlobalsPlan {
    let statements = split(script);
    let mut plan = GlobalsPlan::default();
    let mut bare = BTreeSet::new();
    for statement in &statements {
        if statement.begins(&["CREATE", "ROLE", "?"]) {
            let role = statement.name(2).to_owned();
            if existing.roles.contains(&role) {
                if is_platforms(&role) {
                    plan.left_out.push(format!("role {role}: it is the platform's own"));
                } else {
                    plan.existing_roles.push(role);
                }
            } else if !is_platforms(&role) {
                plan.roles.push(role);
            } else if needs.roles.contains(&role) && !role.starts_with("pg_") {
                plan.left_out.push(format!(
                    "attributes of role {role}: it is a platform's own, and made without any, since the dump names it"
                ));
                bare.insert(role.clone());
                plan.roles.push(role);
            } else {
                plan.left_out.push(format!("role {role}: it is the platform's own"));
            }
        } else if needs.tablespaces && statement.begins(&["CREATE", "TABLESPACE", "?"]) {
            let name = statement.name(2).to_owned();
            if !existing.tablespaces.contains(&name) {
                plan.tablespaces.push(name);
                plan.locations.extend(TablespaceLocation::of(statement));
            }
        }
    }
    let new_roles: BTreeSet<String> = plan.roles.iter().cloned().collect();
    let new_tablespaces: BTreeSet<String> = plan.tablespaces.iter().cloned().collect();
    let decide = Decide {
        existing,
        new_roles: &new_roles,
        bare: &bare,
        superusers: superusers(&statements),
        new_tablespaces: &new_tablespaces,
    };
    for statement in &statements {
        decide.about(statement, &mut plan);
    }
    if !existing.superuser {
        let joined: Vec<String> = needs.owners.intersection(&new_roles).cloned().collect();
        for role in &joined {
            // The creator of a role may grant it, and is not a member of it yet.
            let sql = format!("GRANT {} TO CURRENT_USER", crate::postgres::identifier(role));
            let grants = split(&sql).into_iter().map(|statement| GlobalsStep { statement, is_needed: true });
            plan.role_steps.extend(grants);
        }
        plan.joined = joined;
    }
    plan.need_password = need_password(&statements, &new_roles, &bare);
    plan
}

/// The position of the first attribute in `ALTER ROLE name WITH …`.
const ATTRIBUTES: usize = 4;

fn sets_attributes(statement: &SqlStatement) -> bool {
    statement.begins(&["ALTER", "ROLE", "?", "WITH"])
}

fn has_attribute(statement: &SqlStatement, attribute: &str) -> bool {
    sets_attributes(statement) && statement.find(ATTRIBUTES, attribute).is_some()
}

fn superusers(statements: &[SqlStatement]) -> BTreeSet<&str> {
    let superusers = statements.iter().filter(|statement| has_attribute(statement, "SUPERUSER"));
    superusers.map(|statement| statement.name(2)).collect()
}

fn need_password(
    statements: &[SqlStatement],
    new_roles: &BTreeSet<String>,
    bare: &BTreeSet<String>,
) -> Vec<String> {
    let logs_in_without = |statement: &&SqlStatement| {
        has_attribute(statement, "LOGIN")
            && !has_attribute(statement, "PASSWORD")
            && new_roles.contains(statement.name(2))
            && !bare.contains(statement.name(2))
    };
    statements.iter().filter(logs_in_without).map(|statement| statement.name(2).to_owned()).collect()
}

/// Returns whether a role is one that a platform creates and logs in with: RDS, Cloud SQL, Azure, Neon,
/// Supabase. PostgreSQL's own ones cannot be created at all.
fn is_platforms(role: &str) -> bool {
    ["pg_", "rds_", "cloudsql", "azure_", "azuresu"].iter().any(|prefix| role.starts_with(prefix))
        || [
            "rdsadmin",
            "rdstopmgr",
            "rdsrepladmin",
            "rdswriteforwarduser",
            "cloud_admin",
            "neon_superuser",
            "supabase_admin",
            "supabase_replication_admin",
        ]
        .contains(&role)
}

struct Decide<'a> {
    existing: Existing<'a>,
    new_roles: &'a BTreeSet<String>,
    /// The new roles that get no attributes.
    bare: &'a BTreeSet<String>,
    superusers: BTreeSet<&'a str>,
    new_tablespaces: &'a BTreeSet<String>,
}

impl Decide<'_> {
    fn about(&self, statement: &SqlStatement, plan: &mut GlobalsPlan) {
        let begins = |pattern: &[&str]| statement.begins(pattern);
        if begins(&["SET"]) || begins(&["RESET"]) || begins(&["SELECT", "pg_catalog"]) {
            // The session that creates them has its own.
        } else if begins(&["ALTER", "ROLE", "?", "IN", "DATABASE"]) {
            // Settings of a role in a database come with the database's own facts.
        } else if begins(&["CREATE", "ROLE", "?"]) {
            self.role(statement.name(2), statement, true, plan);
        } else if sets_attributes(statement) {
            self.attributes(statement, plan);
        } else if begins(&["ALTER", "ROLE", "?"]) {
            self.role(statement.name(2), statement, false, plan);
        } else if begins(&["COMMENT", "ON", "ROLE", "?"]) {
            self.role(statement.name(3), statement, false, plan);
        } else if begins(&["SECURITY", "LABEL", "FOR", "?", "ON", "ROLE", "?"]) {
            self.role(statement.name(6), statement, false, plan);
        } else if begins(&["GRANT", "?", "TO", "?"]) {
            self.membership(statement, plan);
        } else if let Some(name) = tablespace_of(statement) {
            self.tablespace(name, statement, plan);
        } else if begins(&["GRANT"]) && object_of(statement, "PARAMETER").is_some() {
            let grantees = statement.find_last("TO").map(|to| statement.roles(to + 1)).unwrap_or_default();
            self.role(grantees.first().copied().unwrap_or_default(), statement, false, plan);
        } else {
            plan.left_out.push(format!("`{}`", statement.gist()));
        }
    }

    fn is_there(&self, role: &str) -> bool {
        self.new_roles.contains(role) || self.existing.roles.contains(role)
    }

    fn role(&self, role: &str, statement: &SqlStatement, is_needed: bool, plan: &mut GlobalsPlan) {
        if self.new_roles.contains(role) && (is_needed || !self.bare.contains(role)) {
            plan.role_steps.push(GlobalsStep { statement: statement.clone(), is_needed });
        }
    }

    /// Adds the statement without the attributes that the restoring role may not grant; naming them, even to
    /// deny them, is forbidden as well. Each one that the role had is reported.
    fn attributes(&self, statement: &SqlStatement, plan: &mut GlobalsPlan) {
        let role = statement.name(2);
        if !self.new_roles.contains(role) || self.bare.contains(role) {
            return;
        }
        let mut out = Vec::new();
        for attribute in self.forbidden() {
            out.extend(statement.find(ATTRIBUTES, &format!("NO{attribute}")));
            if let Some(position) = statement.find(ATTRIBUTES, attribute) {
                out.push(position);
                plan.left_out
                    .push(format!("{attribute} of role {role}: {} may not give it", self.existing.role));
            }
        }
        out.sort_unstable();
        plan.role_steps.push(GlobalsStep { statement: statement.without(&out), is_needed: true });
    }

    fn forbidden(&self) -> impl Iterator<Item = &'static str> {
        let Existing { superuser, major, .. } = self.existing;
        let gives_its_own = major >= FIRST_WITH_OWN_ATTRIBUTES;
        let attributes = [
            ("SUPERUSER", false),
            ("REPLICATION", gives_its_own && self.existing.may_replicate),
            ("BYPASSRLS", gives_its_own && self.existing.bypasses_row_security),
            ("CREATEDB", !gives_its_own || self.existing.may_create_databases),
        ];
        attributes.into_iter().filter(move |(_, may)| !superuser && !may).map(|(attribute, _)| attribute)
    }

    /// Lets a new role become a member of an existing one. An existing role gains no membership: that would
    /// change its privileges.
    fn membership(&self, statement: &SqlStatement, plan: &mut GlobalsPlan) {
        let (group, member) = (statement.name(1), statement.name(3));
        match (self.new_roles.contains(member), self.is_there(group)) {
            (true, true) if self.bare.contains(member) => {}
            (true, true) => {
                let statement = self.granted_by(statement, plan);
                plan.role_steps.push(GlobalsStep { statement, is_needed: false });
            }
            (true, false) => {
                plan.left_out.push(format!("membership of {member} in {group}, which is not there"));
            }
            (false, _) if self.new_roles.contains(group) => {
                plan.left_out.push(format!("membership of {member}, which exists, in the new role {group}"));
            }
            (false, _) => {}
        }
    }

    /// Keeps a grantor that exists and is allowed to grant, and that the restoring role may act for: that
    /// includes a new role, whose own memberships were created first. Otherwise the restoring role is the
    /// grantor; that makes no difference where it was a superuser.
    fn granted_by(&self, statement: &SqlStatement, plan: &mut GlobalsPlan) -> SqlStatement {
        let Some(position) = statement.find(4, "GRANTED").filter(|at| statement.is(at + 1, "BY")) else {
            return statement.clone();
        };
        let grantor = statement.name(position + 2);
        let may = self.existing.superuser && self.existing.major >= FIRST_WITH_GRANTORS;
        let is_superuser = self.superusers.contains(grantor);
        if may && !is_superuser && self.new_roles.contains(grantor) && !self.bare.contains(grantor) {
            return statement.clone();
        }
        if self.existing.major >= FIRST_WITH_GRANTORS && !is_superuser {
            plan.left_out.push(format!(
                "grantor of the membership of {} in {}: it was {grantor}, and is {}",
                statement.name(3),
                statement.name(1),
                self.existing.role
            ));
        }
        statement.before(position)
    }

    fn tablespace(&self, name: &str, statement: &SqlStatement, plan: &mut GlobalsPlan) {
        if !self.new_tablespaces.contains(name) {
            return;
        }
        let is_needed = statement.begins(&["CREATE"]);
        // CREATE TABLESPACE name OWNER role LOCATION …
        if is_needed && statement.is(3, "OWNER") && !self.is_there(statement.name(4)) {
            let (owner, role) = (statement.name(4), self.existing.role);
            plan.left_out.push(format!("owner of tablespace {name}: {owner} is not there, and it is {role}"));
            plan.tablespace_steps.push(GlobalsStep { statement: statement.without(&[3, 4]), is_needed });
        } else {
            plan.tablespace_steps.push(GlobalsStep { statement: statement.clone(), is_needed });
        }
    }
}

/// Returns the position of the name in `… ON KIND name …`.
fn object_of(statement: &SqlStatement, kind: &str) -> Option<usize> {
    let on = statement.find(1, "ON").filter(|on| statement.is(on + 1, kind))?;
    Some(on + 2)
}

/// Returns the tablespace that a statement creates, alters or grants.
fn tablespace_of(statement: &SqlStatement) -> Option<&str> {
    let is_of = |verb: &str| statement.is(0, verb);
    if (is_of("CREATE") || is_of("ALTER")) && statement.is(1, "TABLESPACE") {
        return Some(statement.name(2));
    }
    let has_object = is_of("COMMENT") || is_of("SECURITY") || is_of("GRANT") || is_of("REVOKE");
    let position = object_of(statement, "TABLESPACE").filter(|_| has_object)?;
    Some(statement.name(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
\\restrict key
SET default_transaction_read_only = off;
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x';
COMMENT ON ROLE app IS 'it''s; x -- y';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER LOGIN;
CREATE ROLE reader;
ALTER ROLE reader WITH NOSUPERUSER LOGIN;
CREATE ROLE rdsadmin;
ALTER ROLE rdsadmin WITH SUPERUSER LOGIN;
ALTER ROLE app SET search_path TO 'a', 'b';
ALTER ROLE app IN DATABASE shop SET work_mem TO '8MB';
GRANT app TO reader WITH ADMIN OPTION GRANTED BY nobody;
GRANT reader TO postgres GRANTED BY nobody;
GRANT rds_superuser TO reader;
GRANT SET ON PARAMETER work_mem TO app;
CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast';
ALTER TABLESPACE fast SET (random_page_cost=1.1);
GRANT ALL ON TABLESPACE fast TO reader;
CREATE TABLESPACE there OWNER app LOCATION '/mnt/there';
DROP DATABASE shop;
\\unrestrict key
";

    fn planned(superuser: bool, roles: &[&str]) -> GlobalsPlan {
        planned_of(SCRIPT, roles, &[], |existing| existing.superuser = superuser)
    }

    /// With a role that is no superuser, for version 15, unless `change` says otherwise; `named` are roles
    /// that own something in the dump.
    fn planned_of(
        script: &str,
        roles: &[&str],
        named: &[&str],
        change: impl FnOnce(&mut Existing<'_>),
    ) -> GlobalsPlan {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (roles, tablespaces, named) = (set(roles), set(&["there"]), set(named));
        let mut existing = Existing {
            major: 15,
            roles: &roles,
            tablespaces: &tablespaces,
            role: "restorer",
            superuser: false,
            may_create_databases: true,
            may_replicate: false,
            bypasses_row_security: false,
        };
        change(&mut existing);
        plan(script, existing, Needs { roles: &named, owners: &named, tablespaces: true })
    }

    fn sql(steps: &[GlobalsStep]) -> Vec<&str> {
        steps.iter().map(|step| step.statement.sql()).collect()
    }

    #[test]
    fn only_what_is_not_there_is_made() {
        let plan = planned(true, &["postgres"]);
        assert_eq!(plan.roles, ["app", "reader"]);
        assert_eq!(plan.existing_roles, ["postgres"]);
        assert_eq!(plan.tablespaces, ["fast"]);
        assert_eq!(plan.need_password, ["reader"]);
        assert_eq!(
            sql(&plan.role_steps),
            [
                "CREATE ROLE app",
                "ALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x'",
                "COMMENT ON ROLE app IS 'it''s; x -- y'",
                "CREATE ROLE reader",
                "ALTER ROLE reader WITH NOSUPERUSER LOGIN",
                "ALTER ROLE app SET search_path TO 'a', 'b'",
                "GRANT app TO reader WITH ADMIN OPTION",
                "GRANT SET ON PARAMETER work_mem TO app",
            ]
        );
        assert_eq!(sql(&plan.tablespace_steps).len(), 3);
        let (tablespace, location) = ("fast".to_owned(), "/mnt/fast".to_owned());
        assert_eq!(plan.locations, [TablespaceLocation { tablespace, location }]);
        assert_eq!(
            plan.left_out,
            [
                "role rdsadmin: it is the platform's own",
                "membership of postgres, which exists, in the new role reader",
                "membership of reader in rds_superuser, which is not there",
                "`DROP DATABASE shop …`",
            ]
        );
    }

    #[test]
    fn directories_are_read_whatever_their_names_and_owners_are() {
        let script = r"CREATE TABLESPACE a OWNER location LOCATION '/it''s';
            CREATE TABLESPACE b OWNER x LOCATION E'/back\\slash';
            CREATE TABLESPACE in_place OWNER x LOCATION '';";
        assert_eq!(locations(script).into_iter().collect::<Vec<_>>(), [r"/back\slash", "/it's"]);
    }

    #[test]
    fn a_second_time_nothing_is_left_to_do() {
        let plan = planned(true, &["postgres", "app", "reader", "rds_superuser"]);
        assert!(plan.roles.is_empty() && plan.role_steps.is_empty(), "{plan:?}");
        assert!(plan.need_password.is_empty());
    }

    #[test]
    fn attributes_a_superuser_alone_may_name_are_left_out_for_others() {
        let plan = planned(false, &["postgres"]);
        let alter = plan.role_steps[1].statement.sql();
        assert!(
            !alter.contains("SUPERUSER") && alter.contains("LOGIN") && alter.contains("PASSWORD"),
            "{alter}"
        );
    }

    #[test]
    fn hashes_of_passwords_are_not_shown() {
        let plan = planned(true, &[]);
        assert!(!format!("{plan:?}").contains("SCRAM"));
        assert!(!serde_json::to_string(&plan).unwrap().contains("SCRAM"));
    }
    /// Names that are also words of the statements they stand in.
    const NAMES: &str = "\
CREATE ROLE granted;
ALTER ROLE granted WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE \"in\";
ALTER ROLE \"in\" WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE login;
ALTER ROLE login WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE parameter;
ALTER ROLE parameter WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE password;
ALTER ROLE password WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE replication;
ALTER ROLE replication WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN REPLICATION NOBYPASSRLS PASSWORD 'x';
CREATE ROLE superuser;
ALTER ROLE superuser WITH SUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION BYPASSRLS;
CREATE ROLE tablespace;
ALTER ROLE tablespace SET work_mem TO '1MB';
COMMENT ON ROLE tablespace IS E'\\'; DROP';
CREATE ROLE \"\"\"q\"\" \"\"\";
SECURITY LABEL FOR \"se linux\" ON ROLE \"\"\"q\"\" \"\"\" IS 'x';
ALTER ROLE \"in\" IN DATABASE d SET work_mem TO '2MB';
GRANT granted TO \"in\" WITH ADMIN OPTION GRANTED BY superuser;
GRANT parameter TO granted GRANTED BY \"in\";
GRANT SET,ALTER SYSTEM ON PARAMETER work_mem TO granted WITH GRANT OPTION;
SET SESSION AUTHORIZATION superuser;
GRANT SET ON PARAMETER work_mem TO parameter;
RESET SESSION AUTHORIZATION;
";

    #[test]
    fn roles_may_be_called_like_key_words() {
        let plan = planned_of(NAMES, &[], &[], |existing| existing.superuser = true);
        assert_eq!(plan.left_out, Vec::<String>::new());
        assert_eq!(plan.need_password, ["password"]);
        let kept: Vec<String> = split(NAMES).iter().map(|statement| statement.sql().to_owned()).collect();
        let expected: Vec<&str> = kept
            .iter()
            .map(String::as_str)
            .filter(|sql| !sql.contains("IN DATABASE") && !sql.contains("SESSION"))
            .map(|sql| sql.split(" GRANTED BY").next().unwrap())
            .collect();
        assert_eq!(sql(&plan.role_steps), expected);
    }

    #[test]
    fn every_attribute_that_is_lost_is_said_and_names_stay_whole() {
        let plan = planned_of(NAMES, &[], &[], |_| {});
        assert_eq!(
            plan.left_out,
            [
                "REPLICATION of role replication: restorer may not give it",
                "SUPERUSER of role superuser: restorer may not give it",
                "BYPASSRLS of role superuser: restorer may not give it",
            ]
        );
        let alter = |role: &str, plan: &GlobalsPlan| {
            let begins = format!("ALTER ROLE {role} WITH ");
            sql(&plan.role_steps).into_iter().find_map(|sql| sql.strip_prefix(&begins).map(str::to_owned))
        };
        assert_eq!(
            alter("replication", &plan).unwrap(),
            "INHERIT NOCREATEROLE NOCREATEDB LOGIN PASSWORD 'x'"
        );
        assert_eq!(alter("superuser", &plan).unwrap(), "INHERIT NOCREATEROLE NOCREATEDB NOLOGIN");
        let newer = planned_of(NAMES, &[], &[], |existing| {
            (existing.major, existing.may_replicate, existing.may_create_databases) = (16, true, false);
        });
        assert_eq!(
            alter("replication", &newer).unwrap(),
            "INHERIT NOCREATEROLE LOGIN REPLICATION PASSWORD 'x'"
        );
        assert!(
            newer.left_out.contains(&"CREATEDB of role in: restorer may not give it".to_owned()),
            "{newer:?}"
        );
    }

    #[test]
    fn a_grantor_that_is_made_as_well_stays_one_where_it_counts() {
        let script =
            "CREATE ROLE a; CREATE ROLE b; CREATE ROLE c; CREATE ROLE boss; ALTER ROLE boss WITH SUPERUSER;
            GRANT a TO b WITH ADMIN OPTION, INHERIT TRUE GRANTED BY boss;
            GRANT a TO c WITH INHERIT FALSE, SET FALSE GRANTED BY b;
            GRANT a TO c WITH INHERIT TRUE GRANTED BY old;";
        let plan =
            planned_of(script, &["old"], &[], |existing| (existing.major, existing.superuser) = (17, true));
        let grants: Vec<&str> = sql(&plan.role_steps).split_off(5);
        assert_eq!(
            grants,
            [
                "GRANT a TO b WITH ADMIN OPTION, INHERIT TRUE",
                "GRANT a TO c WITH INHERIT FALSE, SET FALSE GRANTED BY b",
                "GRANT a TO c WITH INHERIT TRUE",
            ]
        );
        assert_eq!(plan.left_out, ["grantor of the membership of c in a: it was old, and is restorer"]);
        assert_eq!(
            sql(&planned_of(script, &["old"], &[], |_| {}).role_steps)[6],
            "GRANT a TO c WITH INHERIT FALSE, SET FALSE"
        );
    }

    #[test]
    fn a_platforms_role_is_made_only_where_the_dump_names_it_and_without_attributes() {
        let script = "CREATE ROLE rdsadmin; ALTER ROLE rdsadmin WITH SUPERUSER LOGIN; CREATE ROLE cloudsqladmin;
            ALTER ROLE rdsadmin SET work_mem TO '1MB'; CREATE ROLE app; ALTER ROLE app WITH LOGIN PASSWORD 'x';
            GRANT app TO rdsadmin; GRANT rdsadmin TO app;";
        let plan = planned_of(script, &[], &["rdsadmin", "app"], |_| {});
        assert_eq!(plan.roles, ["rdsadmin", "app"]);
        assert_eq!(
            sql(&plan.role_steps),
            [
                "CREATE ROLE rdsadmin",
                "CREATE ROLE app",
                "ALTER ROLE app WITH LOGIN PASSWORD 'x'",
                "GRANT rdsadmin TO app",
                "GRANT \"app\" TO CURRENT_USER",
                "GRANT \"rdsadmin\" TO CURRENT_USER",
            ]
        );
        assert_eq!((plan.left_out.len(), plan.joined.len(), plan.need_password.len()), (2, 2, 0), "{plan:?}");
    }

    #[test]
    fn without_tablespaces_none_is_made_and_an_owner_that_is_not_there_is_left_out() {
        let existing_roles = BTreeSet::new();
        let (none, tablespaces) = (BTreeSet::new(), BTreeSet::new());
        let existing = Existing {
            major: 15,
            roles: &existing_roles,
            tablespaces: &tablespaces,
            role: "restorer",
            superuser: true,
            may_create_databases: true,
            may_replicate: true,
            bypasses_row_security: true,
        };
        let plan_with =
            |tablespaces| plan(SCRIPT, existing, Needs { roles: &none, owners: &none, tablespaces });
        let without = plan_with(false);
        assert!(without.tablespaces.is_empty() && without.tablespace_steps.is_empty(), "{without:?}");
        assert_eq!(plan_with(true).tablespaces, ["fast", "there"]);
        let foreign = "CREATE TABLESPACE fast OWNER rdsadmin LOCATION '/x y';";
        let plan = planned_of(foreign, &[], &[], |_| {});
        assert_eq!(sql(&plan.tablespace_steps), ["CREATE TABLESPACE fast LOCATION '/x y'"]);
        assert_eq!(plan.left_out, ["owner of tablespace fast: rdsadmin is not there, and it is restorer"]);
    }
}
