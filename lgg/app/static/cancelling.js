() => {
    const words = document.querySelector("#series-said .progress p");
    if (words) words.textContent = "Cancelling …";
}
