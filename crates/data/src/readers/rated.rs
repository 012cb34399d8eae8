//! Rated sentences: id, rating and text, a tab between.

use super::rows::{Reason, Rows};
use super::{NEGATIVE, NEUTRAL, POSITIVE};
use crate::error::Result;

pub(super) fn read(rows: &mut Rows) -> Result<()> {
    let options = rows.options;
    rows.each_line(|rows, number, line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_id, rating, text] = columns[..] else {
            let message = format!(
                "has {} columns, not id, rating and text with a tab between",
                columns.len()
            );
            return rows.refuse_line(Reason::Broken, number, message);
        };
        let Some(rating) = rating
            .parse()
            .ok()
            .filter(|rating: &f64| rating.is_finite())
        else {
            let message = format!("the rating {rating:?} is not a number");
            return rows.refuse_line(Reason::NotANumber, number, message);
        };
        let label = match rating {
            _ if rating < -options.neutral => NEGATIVE,
            _ if rating > options.neutral => POSITIVE,
            _ if options.classes == 2 => return Ok(()),
            _ => NEUTRAL,
        };
        rows.add(number, text, label)
    })
}
