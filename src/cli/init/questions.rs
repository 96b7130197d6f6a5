use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use super::{InitArgs, STAND_INS};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::keys::refused;
use crate::init::{KeysError, KeysPlan, PolicyTemplate, TemplateRepository};

/// All answers that `init` needs.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) draft: PolicyTemplate,
    /// The paths of new identities; `None` with existing recipients.
    identities: Option<(PathBuf, PathBuf)>,
    danger_same_place: bool,
    pub(super) no_probe: bool,
    pub(super) create_directories: bool,
}

impl Answers {
    pub(super) fn keys_plan(&self) -> Result<Option<KeysPlan>, CommandError> {
        let Some((operational, escrow)) = &self.identities else { return Ok(None) };
        KeysPlan::new(operational, escrow, self.danger_same_place)
            .map(Some)
            .map_err(|error| refused(error, "--danger-same-place"))
    }
}

/// Collects the answers: from the flags, and on a terminal from the user for the rest.
pub(super) async fn complete(args: InitArgs, context: &Context) -> Result<Answers, CommandError> {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let questions = tokio::task::spawn_blocking(move || until_right(args, &mut PromptTerminal));
        // An unanswered question must not prevent Ctrl-C from ending the program.
        return tokio::select! {
            answers = questions => answers.map_err(CommandError::failed)?,
            () = context.cancel.cancelled() => Err(CommandError::new(Exit::Interrupted, "interrupted at a prompt")),
        };
    }
    answers(args, &mut Unattended::default())
}

/// Asks for values that the flags omit.
trait Ask {
    /// Asks a question; `flag` is the option that gives the answer. An empty answer is `default`; `None`
    /// requires one.
    fn ask(&mut self, question: &str, flag: &str, default: Option<&str>) -> Result<String, CommandError>;

    /// Shows why the answer to the next question was rejected.
    fn refuse(&mut self, _why: &str) -> Result<(), CommandError> {
        Ok(())
    }

    /// Checks, after the last question, whether all of them had answers.
    fn end(&mut self) -> Result<(), CommandError> {
        Ok(())
    }
}

struct PromptTerminal;

impl Ask for PromptTerminal {
    fn refuse(&mut self, why: &str) -> Result<(), CommandError> {
        let failed = |source: std::io::Error| CommandError::failed(source).context("failed to ask");
        writeln!(anstream::stderr(), "That is not right: {why}.").map_err(failed)
    }

    fn ask(&mut self, question: &str, _flag: &str, default: Option<&str>) -> Result<String, CommandError> {
        let failed = |source: std::io::Error| CommandError::failed(source).context("failed to ask");
        loop {
            let shown =
                default.filter(|text| !text.is_empty()).map(|text| format!(" [{text}]")).unwrap_or_default();
            write!(anstream::stderr(), "{question}{shown}: ").map_err(failed)?;
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
                return Err(CommandError::new(Exit::Interrupted, "there was no answer"));
            }
            match (line.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }
}

/// Without a terminal: values without a default are missing.
#[derive(Default)]
struct Unattended {
    missing: Vec<String>,
}

impl Ask for Unattended {
    fn ask(&mut self, _question: &str, flag: &str, default: Option<&str>) -> Result<String, CommandError> {
        if default.is_none() {
            self.missing.push(flag.to_owned());
        }
        Ok(default.unwrap_or_default().to_owned())
    }

    fn end(&mut self) -> Result<(), CommandError> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let missing = self.missing.join(", ");
        Err(CommandError::usage(format!("missing: {missing}"))
            .hint("Give the flags, or run `drctl init` on a terminal to be asked."))
    }
}

/// Asks, and repeats only the questions with invalid answers, until the answers make a valid policy, or no
/// answer is at fault.
fn until_right(mut args: InitArgs, ask: &mut impl Ask) -> Result<Answers, CommandError> {
    loop {
        let answers = answers(args.clone(), ask)?;
        let wrong = answers.wrong();
        if wrong.is_empty() || wrong.iter().any(|(question, _)| question.is_none()) {
            // The remaining faults are reported with their hints by the caller.
            return Ok(answers);
        }
        args = answers.given(args);
        for (question, why) in &wrong {
            ask.refuse(why)?;
            match question {
                Some(Question::Database) => args.database = None,
                Some(Question::System) => args.system = None,
                Some(Question::Password) => args.password = None,
                Some(Question::Primary) => args.primary = None,
                Some(Question::Region) => args.region = None,
                Some(Question::Endpoint) => args.endpoint = None,
                Some(Question::Copy) => args.copy = None,
                Some(Question::CopyRegion) => args.copy_region = None,
                Some(Question::CopyEndpoint) => args.copy_endpoint = None,
                Some(Question::Operational) => args.operational = None,
                Some(Question::Escrow) => args.escrow = None,
                None => {}
            }
        }
    }
}

/// The questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Database,
    System,
    Password,
    Primary,
    Region,
    Endpoint,
    Copy,
    CopyRegion,
    CopyEndpoint,
    Operational,
    Escrow,
}

impl Question {
    /// Returns the question for the setting of a fault.
    fn from_key(key: &str) -> Option<Self> {
        if let Some(setting) = key.strip_prefix("repository.primary") {
            return Some(match setting {
                ".region" => Self::Region,
                ".endpoint" => Self::Endpoint,
                _ => Self::Primary,
            });
        }
        if let Some(setting) = key.strip_prefix("repository.copies.") {
            return Some(match setting.rsplit_once('.')?.1 {
                "region" => Self::CopyRegion,
                "endpoint" => Self::CopyEndpoint,
                "url" | "directory" => Self::Copy,
                _ => return None,
            });
        }
        Some(match key {
            "system.name" => Self::System,
            "sources.database.url" => Self::Database,
            "sources.database.password" => Self::Password,
            _ => return None,
        })
    }
}

impl Answers {
    /// Returns which answers are invalid, and why; `None` where no question would correct it.
    fn wrong(&self) -> Vec<(Option<Question>, String)> {
        let mut draft = self.draft.clone();
        if self.identities.is_some() {
            draft.recipients = STAND_INS.map(|key| (None, key.to_owned())).into();
        }
        let faults = match crate::policy::parse(Path::new("drctl.toml"), &draft.text()) {
            Ok(_) => vec![],
            Err(faults) => faults.faults,
        };
        let mut wrong: Vec<_> = faults
            .into_iter()
            .map(|fault| {
                let hint = fault.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                (Question::from_key(&fault.key), format!("{}{hint}", fault.message))
            })
            .collect();
        let Some((operational, escrow)) = &self.identities else { return wrong };
        if let Err(error) = KeysPlan::new(operational, escrow, self.danger_same_place) {
            let question = match &error {
                KeysError::Exists { path }
                | KeysError::NoDirectory { path, .. }
                | KeysError::Write { path, .. }
                    if path == operational =>
                {
                    Question::Operational
                }
                _ => Question::Escrow,
            };
            wrong.push((Some(question), crate::text::error_chain(&error)));
        }
        wrong
    }

    /// Returns the flags for these answers.
    fn given(self, args: InitArgs) -> InitArgs {
        let copy = self.draft.copies.into_iter().next().map(|(_, place)| place).unwrap_or_default();
        let primary = self.draft.primary;
        // With a region, an empty endpoint was omitted on purpose, and is not asked again.
        let endpoint = |place: &TemplateRepository| {
            place.endpoint.clone().or_else(|| place.region.is_some().then(String::new))
        };
        let (operational, escrow) = self.identities.unzip();
        InitArgs {
            database: Some(self.draft.database),
            system: Some(self.draft.system),
            password: Some(self.draft.password.unwrap_or_default()),
            endpoint: endpoint(&primary),
            region: primary.region,
            primary: Some(primary.place),
            copy_endpoint: endpoint(&copy),
            copy_region: copy.region,
            copy: Some(copy.place),
            operational,
            escrow,
            ..args
        }
    }
}

fn answers(args: InitArgs, ask: &mut impl Ask) -> Result<Answers, CommandError> {
    let mut or_ask = |given: Option<String>, question: &str, flag: &str, default: Option<&str>| match given {
        Some(answer) => Ok(answer),
        None => ask.ask(question, flag, default),
    };
    let database = or_ask(
        args.database,
        "Database (postgres://user@host:port/database without a password, or env:NAME)",
        "--database",
        None,
    )?;
    let suggested = name_in(&database);
    let system = or_ask(args.system, "Name of the application", "--system", suggested.as_deref())?;
    let password = or_ask(
        args.password,
        "Where its password is stored (env:NAME, file:/path; empty: ~/.pgpass)",
        "--password",
        Some(""),
    )?;
    let primary =
        or_ask(args.primary, "Primary repository (s3://bucket/prefix or a directory)", "--primary", None)?;
    let primary = place(primary, args.region, args.endpoint, ["--region", "--endpoint"], &mut or_ask)?;
    let copy = or_ask(args.copy, "Copy, in another region (empty: none)", "--copy", Some(""))?;
    let mut copies = Vec::new();
    if !copy.is_empty() {
        let flags = ["--copy-region", "--copy-endpoint"];
        copies.push((args.copy_name, place(copy, args.copy_region, args.copy_endpoint, flags, &mut or_ask)?));
    }
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let identities = if args.recipient.is_empty() {
        let question = "New identity for restores and drills (a file)";
        let operational = or_ask(args.operational.map(path), question, "--operational", None)?;
        let question = "New identity for escrow (a file on another disk or a removable medium)";
        let escrow = or_ask(args.escrow.map(path), question, "--escrow", None)?;
        let path = |text: String| crate::platform::expand_home(Path::new(&text)).map_err(CommandError::usage);
        Some((path(operational)?, path(escrow)?))
    } else {
        None
    };
    let missing: Vec<_> = std::iter::once(&primary)
        .chain(copies.iter().map(|(_, copy)| copy))
        .filter(|place| is_missing(&place.place))
        .map(|place| place.place.clone())
        .collect();
    let mut create_directories = args.create_directories;
    if !missing.is_empty() && !create_directories {
        let question =
            format!("Create {} (no if a file system is still to be mounted there)", missing.join(" and "));
        let answer = ask.ask(&question, "--create-directories", Some("no"))?;
        create_directories = matches!(answer.to_lowercase().as_str(), "y" | "yes");
    }
    ask.end()?;
    let draft = PolicyTemplate {
        system,
        database,
        password: Some(password).filter(|password| !password.is_empty()),
        primary,
        copies,
        recipients: args.recipient.into_iter().map(|recipient| (None, recipient)).collect(),
        point_in_time: args.point_in_time,
        remark: None,
        sources: vec![],
    };
    Ok(Answers {
        draft,
        identities,
        danger_same_place: args.danger_same_place,
        no_probe: args.no_probe,
        create_directories,
    })
}

fn place<F>(
    place: String,
    region: Option<String>,
    endpoint: Option<String>,
    [region_flag, endpoint_flag]: [&str; 2],
    or_ask: &mut F,
) -> Result<TemplateRepository, CommandError>
where
    F: FnMut(Option<String>, &str, &str, Option<&str>) -> Result<String, CommandError>,
{
    if !place.contains("://") {
        let place = if is_slip(&place) { place } else { absolute(place)? };
        let mount = crate::store::directory::is_mounted(std::path::Path::new(&place));
        return Ok(TemplateRepository {
            place,
            mount,
            region,
            endpoint: endpoint.filter(|text| !text.is_empty()),
        });
    }
    let endpoint = or_ask(endpoint, "  Address of its server (empty: AWS)", endpoint_flag, Some(""))?;
    let default = if endpoint.contains("r2.cloudflarestorage.com") { Some("auto") } else { None };
    let region = or_ask(region, "  Region of the bucket", region_flag, default)?;
    let endpoint = Some(endpoint).filter(|text| !text.is_empty());
    Ok(TemplateRepository { place, mount: false, region: Some(region), endpoint })
}

/// Returns whether it looks like a misspelled bucket. `s3:/bucket` is not a directory: the policy's fault
/// explains it.
fn is_slip(place: &str) -> bool {
    place.split_once(":/").is_some_and(|(scheme, _)| scheme.len() > 1 && !scheme.contains('/'))
}

/// Returns whether it is a directory that does not exist.
fn is_missing(place: &str) -> bool {
    !place.is_empty() && !is_slip(place) && !std::path::Path::new(place).exists()
}

/// Resolves a directory relative to the current one; in the policy it would be relative to the policy file.
fn absolute(directory: String) -> Result<String, CommandError> {
    if directory.is_empty() {
        return Ok(directory);
    }
    let written = crate::platform::expand_home(Path::new(&directory)).map_err(CommandError::usage)?;
    let path = std::path::absolute(&written).map_err(|source| {
        CommandError::failed(source).context(format!("failed to find the directory `{directory}`"))
    })?;
    Ok(path.to_string_lossy().into_owned())
}

/// Returns the database's name, where it is valid as a system's name.
fn name_in(database: &str) -> Option<String> {
    let url = url::Url::parse(database).ok().filter(|url| url.scheme().starts_with("postgres"))?;
    let name = url.path().trim_matches('/').replace('_', "-");
    name.parse::<crate::model::SystemName>().is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in turn, and remembers the questions.
    struct Script(Vec<&'static str>, Vec<String>);

    impl Ask for Script {
        fn ask(&mut self, question: &str, flag: &str, default: Option<&str>) -> Result<String, CommandError> {
            self.1.push(flag.to_owned());
            match (self.0.remove(0), default) {
                ("", Some(default)) => Ok(default.to_owned()),
                ("", None) => panic!("{question} has no default"),
                (answer, _) => Ok(answer.to_owned()),
            }
        }
    }

    #[test]
    fn only_what_no_flag_answers_is_asked() {
        let args = InitArgs {
            database: Some("postgres://drctl@db/web_shop".to_owned()),
            copy_name: "west".to_owned(),
            operational: Some("op.key".into()),
            ..InitArgs::default()
        };
        let replies = vec![
            "",
            "env:PW",
            "s3://shop/drctl",
            "",
            "us-east-1",
            "s3://west",
            "https://x.r2.cloudflarestorage.com",
            "",
            "/media/usb/escrow.key",
        ];
        let mut script = Script(replies, vec![]);
        let answers = answers(args, &mut script).unwrap();
        assert_eq!(
            script.1,
            [
                "--system",
                "--password",
                "--primary",
                "--endpoint",
                "--region",
                "--copy",
                "--copy-endpoint",
                "--copy-region",
                "--escrow",
            ]
        );
        assert_eq!(answers.draft.system, "web-shop");
        assert_eq!(answers.draft.primary.region.as_deref(), Some("us-east-1"));
        assert_eq!(answers.draft.primary.endpoint, None);
        assert_eq!(answers.draft.copies[0].0, "west");
        assert_eq!(answers.draft.copies[0].1.region.as_deref(), Some("auto"));
        assert_eq!(answers.identities.unwrap().1, PathBuf::from("/media/usb/escrow.key"));
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        for path in [&one, &other] {
            std::fs::create_dir(path).unwrap();
        }
        let args = InitArgs {
            database: Some("postgres://drctl@db/shop".to_owned()),
            copy_name: "west".to_owned(),
            operational: Some(one.join("op.key")),
            escrow: Some(one.join("escrow.key")),
            ..InitArgs::default()
        };
        let escrow: &'static str = other.join("escrow.key").to_string_lossy().into_owned().leak();
        let replies = vec![
            "The Shop",
            "",
            "s3:/shop/drctl",
            "s3://west",
            "",
            "us-west-2", // all of them, once
            "shop",
            "s3://shop/drctl",
            "",
            "us-east-1",
            escrow,
        ];
        let mut script = Script(replies, vec![]);
        let answers = until_right(args, &mut script).unwrap();
        let asked: Vec<&str> = script.1.iter().map(String::as_str).collect();
        let first = ["--system", "--password", "--primary", "--copy", "--copy-endpoint", "--copy-region"];
        assert_eq!(asked[..6], first);
        // A bucket has a server and a region, which a directory had not.
        assert_eq!(asked[6..], ["--system", "--primary", "--endpoint", "--region", "--escrow"]);
        assert_eq!(answers.draft.primary.place, "s3://shop/drctl");
    }

    #[test]
    fn with_nobody_to_ask_every_missing_flag_is_named_at_once() {
        let error = answers(InitArgs::default(), &mut Unattended::default()).unwrap_err();
        let text = error.to_string();
        for flag in ["--database", "--system", "--primary", "--operational", "--escrow"] {
            assert!(text.contains(flag), "{text}");
        }
        assert_eq!(error.exit, Exit::Usage);
    }

    #[test]
    fn the_stand_ins_are_recipients() {
        for key in super::super::STAND_INS {
            key.parse::<age::x25519::Recipient>().unwrap();
        }
    }
}
