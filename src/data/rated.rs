//! Rated sentences: id, rating and text, a tab between.

use super::lines::Lines;
use super::rows::{Reason, Rows};
use super::{NEGATIVE, NEUTRAL, POSITIVE};
use crate::error::{Error, Result};

pub(super) fn read(rows: &mut Rows) -> Result<()> {
    let file = std::fs::File::open(rows.path).map_err(Error::io(rows.path))?;
    for line in Lines::new(std::io::BufReader::new(file), rows.path) {
        let (number, line) = match line {
            Ok(line) => line,
            Err(error) => {
                rows.refuse(Reason::NotUtf8, error)?;
                continue;
            }
        };
        let path = rows.path;
        let error = |message| Error::line(path, number, message);
        let columns: Vec<&str> = line.split('\t').collect();
        let [_id, rating, text] = columns[..] else {
            let message = format!(
                "has {} columns, not id, rating and text with a tab between",
                columns.len()
            );
            rows.refuse(Reason::Broken, error(message))?;
            continue;
        };
        let Some(rating) = rating
            .parse()
            .ok()
            .filter(|rating: &f64| rating.is_finite())
        else {
            let message = format!("the rating {rating:?} is not a number");
            rows.refuse(Reason::NotANumber, error(message))?;
            continue;
        };
        let neutral = rows.options.neutral;
        let label = match rating {
            _ if rating < -neutral => NEGATIVE,
            _ if rating > neutral => POSITIVE,
            _ if rows.options.classes == 2 => continue,
            _ => NEUTRAL,
        };
        rows.add(number, text, label)?;
    }
    Ok(())
}
