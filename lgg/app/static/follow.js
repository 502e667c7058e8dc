(...values) => {
    // The plot and the viewer go there at once.
    document.dispatchEvent(new CustomEvent("slice-chosen", {detail: values[0]}));
    return values;
}
