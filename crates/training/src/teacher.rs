//! The EMA teacher.

use adautomix_backbones::is_buffer;
use adautomix_ops::moving_averages;
use adautomix_recipes::{BeforeScope as Before, Recipe};

use crate::schedule::{BeforeScope, Momentum};
use crate::{Error, Parameters, Result};

/// Moves the teacher's weights towards the student's: `teacher = momentum · teacher + (1 - momentum) · student`. Running
/// statistics are not averaged; the teacher has its own.
///
/// # Errors
/// If the two aren't copies of one network.
pub fn follow(teacher: &Parameters, student: &Parameters, momentum: f64) -> Result<()> {
    let mut pairs = Vec::new();
    for (name, average) in teacher.entries().into_iter().filter(|(name, _)| !is_buffer(name)) {
        let Some(value) = student.get(&name) else {
            return Err(Error::Recipe(format!("the student has no `{name}`, which its teacher has")));
        };
        pairs.push((average, value.detach()));
    }
    let pairs: Vec<_> = pairs.iter().map(|(average, value)| (average, value)).collect();
    Ok(moving_averages(&pairs, momentum)?)
}

/// The momentum schedule of a recipe for a run of `steps` steps.
///
/// # Errors
/// If the recipe has no teacher.
pub fn schedule(recipe: &Recipe, steps: usize) -> Result<Momentum> {
    let Some(teacher) = &recipe.teacher else {
        return Err(Error::Recipe(format!("method `{}` needs a [teacher]", recipe.method.name())));
    };
    Ok(Momentum {
        base: teacher.base_momentum,
        end: teacher.end_momentum,
        scope: teacher.scope,
        before: match teacher.before_scope {
            Before::Constant => BeforeScope::Constant,
            Before::Linear => BeforeScope::Linear,
        },
        steps,
    })
}
