//! Medians, ratios and the aims beside them.

use std::time::Duration;

use crate::contender::Contender;
use crate::log::Counts;
use crate::support::usage::Usage;

/// What one run cost.
pub(crate) struct Cost {
    pub(crate) usage: Usage,
    /// Processor time of the PostgreSQL server meanwhile.
    pub(crate) server: Duration,
}

/// The runs of one contender.
pub(crate) struct Series {
    pub(crate) contender: Contender,
    pub(crate) costs: Vec<Cost>,
    /// How often each run does what is compared.
    times: u64,
}

impl Series {
    pub(crate) fn new(contender: Contender, counts: Counts) -> Self {
        let times = match contender {
            _ if contender.archives_singly() => counts.single,
            _ if contender.drains() => counts.waiting,
            _ => 1,
        };
        Self { contender, costs: vec![], times }
    }

    fn wall(&self) -> f64 {
        self.median(|cost| cost.usage.wall.as_secs_f64())
    }

    fn processor(&self) -> f64 {
        self.median(|cost| cost.usage.processor.as_secs_f64())
    }

    fn server(&self) -> f64 {
        self.median(|cost| cost.server.as_secs_f64())
    }

    /// Of drctl itself; of what a shell runs in a loop only the largest is known.
    fn peak(&self) -> u64 {
        if !self.contender.is_drctl() {
            return self.largest();
        }
        self.costs.iter().map(|cost| cost.usage.peak).max().unwrap_or(0)
    }

    fn largest(&self) -> u64 {
        self.costs.iter().map(|cost| cost.usage.largest).max().unwrap_or(0)
    }

    fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        let mut values: Vec<f64> = self.costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        median / self.times as f64
    }
}

/// How one contender is to compare with another.
pub(crate) struct Aim {
    pub(crate) of: Contender,
    pub(crate) against: Contender,
    /// At most this ratio of wall time and of processor time.
    pub(crate) at_most: Option<f64>,
}

const MEMORY_AIM: u64 = 128 << 20;

pub(crate) fn measurements(series: &[Series]) -> String {
    let head = ["", "wall", "processor", "of server", "memory", "largest"];
    let mut text = format!(
        "{:<38}{:>9}{:>11}{:>11}{:>10}{:>10}\n",
        head[0], head[1], head[2], head[3], head[4], head[5]
    );
    for one in series {
        // The memory of `bash`, which only starts the others, says nothing.
        let peak = if one.contender.is_of_drctl() { mebibytes(one.peak()) } else { "-".to_owned() };
        text += &format!(
            "{:<38}{:>9}{:>11}{:>11}{:>10}{:>10}\n",
            one.contender.title(),
            seconds(one.wall()),
            seconds(one.processor()),
            seconds(one.server()),
            peak,
            mebibytes(one.largest()),
        );
    }
    text
}

pub(crate) fn ratios(series: &[Series], aims: &[Aim]) -> String {
    let find = |contender| series.iter().find(|one| one.contender == contender);
    let mut text = format!("{:<68}{:>7}{:>11}{:>11}\n", "", "wall", "processor", "aim");
    for aim in aims {
        let (Some(of), Some(against)) = (find(aim.of), find(aim.against)) else { continue };
        let (wall, processor) = (of.wall() / against.wall(), of.processor() / against.processor());
        let verdict = match aim.at_most {
            None => String::new(),
            Some(most) => {
                let word = if wall <= most && processor <= most { "met" } else { "missed" };
                format!("{:>11}  {word}", format!("<= {most:.2}"))
            }
        };
        let names = format!("{} / {}", aim.of.title(), aim.against.title());
        text += &format!("{names:<68}{wall:>7.2}{processor:>11.2}{verdict}\n");
    }
    let peak = series.iter().filter(|one| one.contender.is_of_drctl()).map(Series::peak).max().unwrap_or(0);
    let word = if peak < MEMORY_AIM { "met" } else { "missed" };
    text += &format!("{:<68}{:>18}{:>11}  {word}\n", "most memory of drctl", mebibytes(peak), "< 128 MiB");
    text
}

fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{:.0} ms", value * 1e3) } else { format!("{value:.1} s") }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
