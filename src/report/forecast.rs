//! Forecasts in words.

use super::figures::{lasting, percent};
use super::page::Tone;
use crate::drill::forecast::{Basis, Forecast, RtoForecast, Standing};
use crate::text::{count, format_size};

/// Returns a forecast as text.
pub fn forecast_sentence(forecast: &Forecast) -> String {
    match forecast {
        Forecast::NoForecast { samples, needed } => {
            let there = match samples {
                0 => "there is none".to_owned(),
                1 => "there is 1".to_owned(),
                several => format!("there are {several}"),
            };
            format!("No forecast: it needs {needed} drills that measured this recovery, and {there}.")
        }
        Forecast::Forecast(forecast) => in_words(forecast),
    }
}

/// Returns how good the news is.
pub fn forecast_tone(forecast: &Forecast) -> Tone {
    match forecast.standing() {
        None => Tone::Neutral,
        Some(Standing::Within) => Tone::Good,
        Some(Standing::Near) => Tone::Warning,
        Some(Standing::Missed) => Tone::Bad,
    }
}

fn in_words(forecast: &RtoForecast) -> String {
    let drills = count(forecast.samples as u64, "drill");
    let basis = match forecast.basis {
        Basis::Percentile => format!("the 90th percentile of the last {drills}"),
        Basis::Slowest => format!("the slowest of the last {drills}"),
    };
    let objective = forecast.objective_seconds;
    let mut text = format!(
        "A recovery today would take {}, {} of the objective of {}: {basis}, with {} to restore.",
        lasting(forecast.rto_seconds),
        percent(forecast.rto_seconds, objective),
        lasting(objective),
        format_size(forecast.bytes),
    );
    let growing = lasting(forecast.growing_seconds);
    text.push_str(&match forecast.bytes_a_day {
        None => format!(
            " {growing} of it depend on the size; the drills are too close together to tell how it grows."
        ),
        Some(a_day) if a_day.abs() < 1.0 => {
            format!(" {growing} of it depend on the size, which does not change.")
        }
        Some(a_day) if a_day < 0.0 => format!(
            " {growing} of it depend on the size, which shrinks by {} a day.",
            format_size((-a_day) as u64)
        ),
        Some(a_day) => {
            format!(
                " {growing} of it depend on the size, which grows by {} a day.",
                format_size(a_day as u64)
            )
        }
    });
    match (forecast.standing, forecast.crosses) {
        (Standing::Missed, _) => text.push_str(" The objective is missed now."),
        (_, Some(day)) => text.push_str(&format!(" The objective is missed from {day} on.")),
        (_, None) if forecast.bytes_a_day.is_some() => {
            text.push_str(" No day on which it misses the objective is foreseen within ten years.");
        }
        (_, None) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(standing: Standing) -> RtoForecast {
        RtoForecast {
            samples: 7,
            basis: Basis::Percentile,
            rto_seconds: 3_120.0,
            growing_seconds: 2_400.0,
            objective_seconds: 14_400.0,
            bytes: 6 << 30,
            bytes_a_day: Some(125_829_120.0),
            standing,
            crosses: "2027-08-03".parse().ok(),
        }
    }

    #[test]
    fn what_is_known_is_said_and_what_is_not_too() {
        let within = Forecast::Forecast(known(Standing::Within));
        assert_eq!(
            forecast_sentence(&within),
            "A recovery today would take 52m, 22 % of the objective of 4h: the 90th percentile of the last 7 drills, \
             with 6.0 GiB to restore. 40m of it depend on the size, which grows by 120.0 MiB a day. \
             The objective is missed from 2027-08-03 on."
        );
        let missed = Forecast::Forecast(known(Standing::Missed));
        assert!(forecast_sentence(&missed).ends_with("The objective is missed now."));
        let unknown = RtoForecast { bytes_a_day: None, crosses: None, ..known(Standing::Within) };
        assert!(
            forecast_sentence(&Forecast::Forecast(unknown))
                .ends_with("too close together to tell how it grows.")
        );
        let few = Forecast::NoForecast { samples: 1, needed: 3 };
        assert_eq!(
            forecast_sentence(&few),
            "No forecast: it needs 3 drills that measured this recovery, and there is 1."
        );
    }
}
