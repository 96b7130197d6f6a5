//! Configuration that is linked into the data directory, or included from elsewhere, and what comes back of it.

use std::os::unix::fs::symlink;

use crate::base::data_directory;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::{Ledger, options};
use crate::support::system::Place;

const TWO: [Place; 2] = [Place::Directory, Place::Directory];

/// As configuration management sets a server up.
#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_is_linked_and_included_comes_back() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    Ledger::create(&archiving.cluster).await?;
    let (data, url) = (archiving.cluster.data(), archiving.cluster.url("postgres"));
    archiving.cluster.kill();
    let etc = archiving.cluster.socket_directory().join("etc");
    std::fs::create_dir_all(etc.join("conf.d"))?;
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        std::fs::rename(data.join(name), etc.join(name))?;
        symlink(etc.join(name), data.join(name))?;
    }
    let append = |name: &str, lines: &str| -> Outcome<()> {
        let text = std::fs::read_to_string(etc.join(name)).unwrap_or_default();
        Ok(std::fs::write(etc.join(name), format!("{text}{lines}"))?)
    };
    let here = etc.display();
    append(
        "postgresql.conf",
        &format!(
            "work_mem = '5MB'\ninclude_dir = '{here}/conf.d'\ninclude '{here}/more.conf'\ninclude_if_exists '{here}/none.conf'\n"
        ),
    )?;
    append("conf.d/10.conf", "work_mem = '7MB'\n")?;
    append("conf.d/20.conf", "work_mem = '9MB' # the last one counts\n")?;
    append("conf.d/notes.txt", "work_mem = '11MB'\n")?;
    append("more.conf", &format!("maintenance_work_mem = '33MB'\nexternal_pid_file = '{here}/live.pid'\n"))?;
    append("pg_hba.conf", "# of the team\n")?;
    archiving.cluster.hand_over()?;
    archiving.cluster.begin_again()?;
    archiving.system.rewrite(&url, &archiving.cluster.url("postgres"))?;
    let memory = "SELECT current_setting('work_mem') || ' ' || current_setting('maintenance_work_mem')";
    assert_eq!(archiving.cluster.text("postgres", memory).await?, "9MB 33MB");
    let live = std::fs::read_to_string(etc.join("live.pid"))?;

    for name in ["over-replication", "from-its-files"] {
        if name == "from-its-files" {
            archiving.base(&data_directory(&archiving))?;
        }
        archiving.backup(0, &[]).await?;
        archiving.cluster.execute("postgres", &["SELECT pg_switch_wal()"]).await?;
        archiving.settle().await?;
        let restored = archiving.recovered(name, &["--latest"]).await?;
        assert_eq!(restored.text(memory).await?, "9MB 33MB", "{name}");
        for file in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            assert!(std::fs::symlink_metadata(restored.to.join(file))?.is_file(), "{name}: {file}");
        }
        let hba = std::fs::read_to_string(restored.to.join("pg_hba.conf"))?;
        assert!(hba.contains("# of the team") && hba.contains("127.0.0.1/32"), "{name}: {hba}");
        assert_eq!(std::fs::read_to_string(etc.join("live.pid"))?, live, "{name}");
    }
    Ok(())
}
