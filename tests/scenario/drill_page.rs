//! The pages about drills, in a browser: they say nothing on its console, can be read in light and in dark and on a
//! telephone, and can be printed.

use std::path::{Path, PathBuf};

use drctl::platform::{Clock as _, SystemClock};
use drctl::repository::{Repositories, Repository};
use drctl::store::directory::DirectoryStore;

use crate::support::browser::{Browser, Scheme, Shown};
use crate::support::system::{Place, System};
use crate::support::{Outcome, drills};

/// Pages of a drill that passed, of one that failed, and of the drills of half a year.
async fn pages() -> Outcome<(System, Vec<PathBuf>)> {
    let system = System::new("postgres://drctl@db.internal/shop", &[Place::Directory, Place::Directory])?;
    system.append("[drill]\nschedule = \"0 5 1 * *\"\n")?;
    let name = "shop".parse()?;
    let repositories = || -> Outcome<Vec<Repository>> {
        let store = |name: &str| std::sync::Arc::new(DirectoryStore::open(system.repository(name)));
        Ok(vec![
            Repository { name: "primary".parse()?, store: store("primary") },
            Repository { name: "west".parse()?, store: store("west") },
        ])
    };
    Repositories::new(repositories()?).for_writing(&name, None, SystemClock.now()).await?;
    let mut records = Vec::new();
    for (begun, due, percent) in [
        ("2026-01-01T05:00:10Z", Some("2026-01-01T05:00:00Z"), 80),
        ("2026-02-03T07:00:00Z", Some("2026-02-01T05:00:00Z"), 84),
        ("2026-02-20T14:00:00Z", None, 86),
        ("2026-03-01T05:00:10Z", Some("2026-03-01T05:00:00Z"), 88),
        ("2026-05-01T05:00:10Z", Some("2026-05-01T05:00:00Z"), 95),
        ("2026-06-01T05:00:10Z", Some("2026-06-01T05:00:00Z"), 100),
    ] {
        let due = due.map(str::parse).transpose()?;
        let record = drills::at(begun.parse()?, due, percent)?;
        records.push(if begun.starts_with("2026-03") { drills::failed(record) } else { record });
    }
    drills::write(repositories()?, &name, records).await?;
    let mut pages = Vec::new();
    for (page, arguments) in [
        ("passed", &["20260601"][..]),
        ("failed", &["20260301"]),
        ("due", &["--from", "2026-01", "--through", "2026-06"]),
    ] {
        let path = system.path().join(page).with_extension("html");
        let to = path.to_str().ok_or("path")?;
        system.expect(0, &[&["drill", "report", "--to", to][..], arguments].concat()).await?;
        pages.push(path);
    }
    Ok((system, pages))
}

#[tokio::test]
async fn pages_are_readable_in_both_schemes_at_every_width_and_on_paper() -> Outcome<()> {
    let (_system, pages) = pages().await?;
    let browser = Browser::new()?;
    let pictures = std::env::var_os("DRCTL_TEST_PICTURES").map(PathBuf::from);
    for page in &pages {
        let mut backgrounds = Vec::new();
        for scheme in [Scheme::Light, Scheme::Dark] {
            let Shown { looks, complaints } = browser.shown(page, scheme, &[340, 768, 1280]).await?;
            assert!(complaints.is_empty(), "{}: {complaints:?}", page.display());
            assert_eq!(looks.len(), 3);
            for look in &looks {
                assert!(
                    look.length > 1_000 && look.overflow <= 0,
                    "{}, {scheme:?}: {look:?}",
                    page.display()
                );
                assert!(look.contrast >= 4.5, "{}, {scheme:?}: {look:?}", page.display());
            }
            backgrounds.push(looks[0].background.clone());
            if let Some(folder) = &pictures {
                let stem = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                for (width, height) in [(1280, 3600), (500, 6000)] {
                    let to = folder.join(format!("{stem}-{scheme:?}-{width}.png"));
                    browser.picture(page, scheme, (width, height), &to).await?;
                }
            }
        }
        assert_ne!(backgrounds[0], backgrounds[1], "dark is not light");
        printed(&browser.pdf(page).await?)?;
    }
    Ok(())
}

fn printed(pdf: &Path) -> Outcome<()> {
    let bytes = std::fs::read(pdf)?;
    assert!(bytes.starts_with(b"%PDF-") && bytes.len() > 10_000, "{}: {} bytes", pdf.display(), bytes.len());
    Ok(())
}

#[tokio::test]
async fn a_page_that_is_wrong_is_noticed() -> Outcome<()> {
    let browser = Browser::new()?;
    let folder = crate::support::scratch::folder()?;
    let page = folder.path().join("page.html");
    let text = "<!DOCTYPE html><html><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">\
                <body style='background: #fff'><p style='width: 2000px; color: #ccc'>wide and faint</p><script>1</script></body></html>";
    std::fs::write(&page, text)?;
    let Shown { looks, complaints } = browser.shown(&page, Scheme::Light, &[340]).await?;
    assert!(complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:?}");
    assert!(looks[0].overflow > 1_000 && looks[0].contrast < 2.0, "{looks:?}");
    Ok(())
}
