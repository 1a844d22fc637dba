//! Batch norm on a device.

use super::*;

#[test]
fn batch_norm_in_training() -> Result<()> {
    let kernels = &[
        "batch_norm_partial",
        "batch_norm_finish",
        "batch_norm_apply",
        "batch_norm_sums",
        "batch_norm_sums_finish",
        "batch_norm_gradient",
    ];
    // Pixels that are and aren't a multiple of four, more elements than threads, more slices than one, than a warp has threads; a
    // large mean.
    for (shape, mean) in
        [([3, 5, 4, 4], 0.0), ([11, 2, 6, 6], 100.0), ([4, 3, 5, 3], -7.0), ([200, 1, 2, 2], 0.0)]
    {
        let channels = shape[1];
        check(kernels, &[&shape, &[channels], &[channels]], |x| {
            Ok(batch_norm_train(&(&x[0] + mean)?, &x[1], &x[2], 1e-5, Epilogue::None)?.0)
        })?;
        check(kernels, &[&shape, &[channels], &[channels]], |x| {
            Ok(batch_norm_train(&x[0], &x[1], &x[2], 1e-5, Epilogue::Relu)?.0)
        })?;
        check(kernels, &[&shape, &[channels], &[channels], &shape], |x| {
            Ok(batch_norm_train(&x[0], &x[1], &x[2], 1e-5, Epilogue::AddRelu(&x[3]))?.0)
        })?;
    }
    Ok(())
}

#[test]
fn batch_norm_with_given_statistics() -> Result<()> {
    let (mean, var) = (values(&[5], 8)?, (values(&[5], 9)? + 1.5)?);
    check(&["batch_norm_inverse", "batch_norm_apply"], &[&[3, 5, 4, 4], &[5], &[5], &[3, 5, 4, 4]], |x| {
        let of = |tensor: &Tensor| tensor.to_dtype(x[0].dtype());
        batch_norm_eval(&x[0], &x[1], &x[2], &of(&mean)?, &of(&var)?, 1e-5, Epilogue::AddRelu(&x[3]))
    })
}

#[test]
fn batch_norm_of_bf16() -> Result<()> {
    let kernels = &[
        "batch_norm_partial_bf16",
        "batch_norm_finish",
        "batch_norm_apply_bf16",
        "batch_norm_sums_bf16",
        "batch_norm_sums_finish",
        "batch_norm_gradient_bf16",
    ];
    // Channels that are and aren't a multiple of eight, fewer and more than a tile has, more rows than a slice.
    for shape in [[3, 8, 4, 5], [2, 24, 40, 20], [2, 5, 6, 6], [1, 41, 5, 7], [2, 264, 2, 2]] {
        let channels = shape[1];
        let (mean, var) = (values(&[channels], 8)?, (values(&[channels], 9)? + 1.5)?);
        check_bf16(kernels, &[&shape, &[channels], &[channels]], |x| {
            let (y, _) = batch_norm_train(&into_bf16(&(&x[0] + 0.5)?)?, &x[1], &x[2], 1e-5, Epilogue::None)?;
            into_planes(&y)
        })?;
        check_bf16(kernels, &[&shape, &[channels], &[channels], &shape], |x| {
            let (x0, added) = (into_bf16(&x[0])?, into_bf16(&x[3])?);
            into_planes(&batch_norm_train(&x0, &x[1], &x[2], 1e-5, Epilogue::AddRelu(&added))?.0)
        })?;
        check_bf16(kernels, &[&shape, &[channels], &[channels]], |x| {
            into_planes(&batch_norm_train(&into_bf16(&x[0])?, &x[1], &x[2], 1e-5, Epilogue::Relu)?.0)
        })?;
        check_bf16(&kernels[2..], &[&shape, &[channels], &[channels]], |x| {
            let x0 = into_bf16(&x[0])?;
            into_planes(&batch_norm_eval(&x0, &x[1], &x[2], &mean, &var, 1e-5, Epilogue::Relu)?)
        })?;
    }
    Ok(())
}

#[test]
fn the_statistics_of_a_batch_and_running_ones() -> Result<()> {
    let planes = (values(&[7, 3, 4, 4], 1)? + 50.0)?;
    let one = Tensor::ones(3, DType::F32, &Device::Cpu)?;
    for x in [into_bf16(&planes)?, planes] {
        let run = || -> Result<Vec<Vec<f32>>> {
            let (mean, var) = (one.copy()?, one.copy()?);
            let (_, moments) = batch_norm_train(&x, &one, &one, 1e-5, Epilogue::None)?;
            update_statistics(&[(&moments, [&mean, &var])], 0.1, 3)?;
            [moments.mean, moments.variance, mean, var].iter().map(Tensor::to_vec1).collect()
        };
        for (got, want) in emulated(run)?.concat().iter().zip(run()?.concat()) {
            assert!((got - want).abs() <= 1e-5 * want.abs(), "{got} {want}");
        }
    }
    Ok(())
}

#[test]
fn an_outlier_takes_no_digits() -> Result<()> {
    // Where a slice begins, as padding does.
    let mut all: Vec<f32> = (0..64 * 1024).map(|i| (i as f32 * 0.7).sin()).collect();
    all[0] = 3000.0;
    let x = Tensor::from_vec(all, (1, 1, 256, 256), &Device::Cpu)?;
    let one = Tensor::ones(1, DType::F32, &Device::Cpu)?;
    let variance = |x: &Tensor, one: &Tensor| -> Result<f64> {
        let (_, moments) = batch_norm_train(x, one, one, 1e-5, Epilogue::None)?;
        moments.variance.to_dtype(DType::F64)?.squeeze(0)?.to_scalar::<f64>()
    };
    let got = emulated(|| variance(&x, &one))?;
    let want = variance(&x.to_dtype(DType::F64)?, &one.to_dtype(DType::F64)?)?;
    assert!((got - want).abs() < 1e-5 * want, "{got} {want}");
    Ok(())
}
